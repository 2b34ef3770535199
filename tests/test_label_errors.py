"""Label errors: planted ones are found, and what cannot be judged is not listed."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from click.testing import CliRunner

from embedder_toy import write_network
from genreflow.cli import cli
from genreflow.embedding.conversion import PATCH_SPEC
from genreflow.label_errors.confident_learning import class_thresholds
from genreflow.label_errors.judge import MAX_RELATIVE_PROBABILITY, judge_labels
from genreflow.label_errors.label_report import LabelReport, format_label_report
from genreflow.label_errors.out_of_fold import predict_out_of_fold
from genreflow.manifest.track import Track
from genreflow.stages import AUDIT_PAGE, LABEL_ERRORS
from genreflow.stages.__main__ import main
from pipeline import RATE, ROOT, tone, write_music

GENRES = ("ambient", "jazz", "metal", "techno")


def make_tracks(artists: int = 6, of_each: int = 4, genres: tuple[str, ...] = GENRES) -> list[Track]:
    return [
        Track(id=f"{genre}/{artist}/{n}", genre=genre, path="", group=f"{genre} {artist}", group_source="folder")
        for genre in genres
        for artist in range(artists)
        for n in range(of_each)
    ]


def make_features(tracks: list[Track], *, artist_scale: float = 0.3) -> np.ndarray:
    """Features that depend on genre and artist, as the tracks have them before any label is changed."""
    rng = np.random.default_rng(0)
    genre_means = {genre: rng.normal(size=8) for genre in sorted({track.genre for track in tracks})}
    artist_means = {group: artist_scale * rng.normal(size=8) for group in sorted({track.group for track in tracks})}
    return np.array([genre_means[t.genre] + artist_means[t.group] + rng.normal(0, 0.2, 8) for t in tracks])


def relabelled(tracks: list[Track], labels: dict[str, str]) -> list[Track]:
    return [Track.from_dict(track.to_dict() | {"genre": labels.get(track.id, track.genre)}) for track in tracks]


def judge(tracks: list[Track], x: np.ndarray, *, groups_known: bool = True) -> LabelReport:
    groups = {track.id: track.group for track in tracks}
    return judge_labels(tracks, x, groups, features="toy features", groups_known=groups_known)


def test_class_thresholds_by_hand():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.3, 0.6, 0.1], [0.7, 0.2, 0.1], [0.4, 0.5, 0.1]])
    labels, judged = np.array([0, 0, 1, 1, 2]), np.array([True, True, True, True, False])
    np.testing.assert_allclose(class_thresholds(probabilities, labels, judged), [0.7, 0.4, np.nan])


def test_planted_label_errors_are_found():
    tracks = make_tracks()
    planted = {"jazz/1/0": "metal", "metal/4/2": "techno", "ambient/0/3": "jazz", "techno/5/1": "ambient"}
    report = judge(relabelled(tracks, planted), make_features(tracks))
    assert {(row.track, row.label, row.suggested) for row in report.label_errors} == {
        (track, label, track.partition("/")[0]) for track, label in planted.items()
    }
    relative = [row.relative_label_probability for row in report.label_errors]
    assert relative == sorted(relative)
    assert relative[-1] <= MAX_RELATIVE_PROBABILITY
    assert report.judged == report.tracks == len(tracks)
    assert report.accuracy == pytest.approx(1 - len(planted) / len(tracks))
    assert report.notes == ()


def test_correct_labels_are_not_listed():
    tracks = make_tracks()
    assert judge(tracks, make_features(tracks)).label_errors == ()


def test_a_track_is_judged_by_other_artists_only():
    """All tracks of one artist have the same wrong label: among their own, each would look right."""
    tracks = make_tracks()
    planted = {track.id: "metal" for track in tracks if track.group == "jazz 2"}
    report = judge(relabelled(tracks, planted), make_features(tracks, artist_scale=1.0))
    assert {row.track for row in report.label_errors} == set(planted)


@pytest.mark.parametrize("artists", [1, 2])
def test_a_genre_of_few_artists_is_not_judged(artists):
    """Even if its tracks are nothing like the others of the genre."""
    tracks = [*make_tracks(), *make_tracks(artists, 4, ("zydeco",))]
    x = make_features(tracks, artist_scale=2.0)
    report = judge(tracks, x)
    assert not [row for row in report.label_errors if "zydeco" in (row.label, row.suggested)]
    assert report.genres["zydeco"].judged == 0
    assert report.genres["jazz"].judged == report.genres["jazz"].tracks == 24
    (note,) = report.notes
    assert "zydeco" in note


def test_a_genre_of_few_artists_is_not_suggested():
    tracks = [*make_tracks(), *make_tracks(2, 4, ("zydeco",))]
    mislabelled = {track.id: "jazz" for track in tracks if track.group == "zydeco 1"}
    report = judge(relabelled(tracks, mislabelled), make_features(tracks))
    assert report.genres["zydeco"].judged == 0
    assert "zydeco" not in {row.suggested for row in report.label_errors}


def test_a_foreign_artist_in_a_genre_of_one_artist_is_judged_alone():
    tracks = [*make_tracks(), *make_tracks(1, 5, ("zydeco",))]
    report = judge(relabelled(tracks, {"jazz/0/0": "zydeco"}), make_features(tracks))
    assert report.genres["zydeco"].judged == 0  # of two artists; neither is evidence on the other


def test_unknown_artists_are_reported():
    tracks = make_tracks()
    (note,) = judge(tracks, make_features(tracks), groups_known=False).notes
    assert "artists are unknown" in note


@pytest.mark.parametrize(
    ("artists", "of_each", "genres"),
    [(3, 4, ("jazz",)), (1, 1, GENRES[:2]), (1, 1, ("jazz",)), (2, 1, GENRES), (1, 40, GENRES)],
    ids=["one genre", "two tracks", "one track", "fewer artists than folds", "one artist for each genre"],
)
def test_what_cannot_be_judged_gives_an_empty_report_that_says_why(artists, of_each, genres, tmp_path):
    tracks = make_tracks(artists, of_each, genres)
    report = judge(tracks, make_features(tracks))
    assert (report.label_errors, report.judged, report.accuracy) == ((), 0, None)
    assert report.notes
    assert "0 possible label errors in 0 judged" in format_label_report(report, more="")
    report.save(tmp_path / "x.json", tmp_path / "x.csv")
    assert json.loads((tmp_path / "x.json").read_text())["label_errors"] == []


def test_no_tracks_at_all():
    report = judge([], np.zeros((0, 8)))
    assert (report.tracks, report.label_errors) == (0, ())
    assert report.notes


def test_probabilities_are_of_all_genres_also_where_a_fold_lacks_one():
    labels = np.array([1] * 6 + [2] * 6 + [0])
    groups = [f"{label} {n % 3}" for n, label in enumerate(labels)]
    found = predict_out_of_fold(np.random.default_rng(0).normal(size=(13, 3)), labels, groups, n_genres=3)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert found.probabilities[-1, 0] == 0
    assert found.judged.tolist() == [True] * 12 + [False]


def test_the_table_and_the_text(tmp_path):
    tracks = make_tracks()
    planted = {"jazz/1/0": "metal", "metal/4/2": "techno"}
    report = judge(relabelled(tracks, planted), make_features(tracks))
    report.save(tmp_path / "x.json", tmp_path / "x.csv")
    with open(tmp_path / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["track"] for row in rows] == [row.track for row in report.label_errors]
    assert float(rows[0]["probability"]) == report.label_errors[0].probability
    assert (rows[0]["label"], rows[0]["suggested"]) == (report.label_errors[0].label, report.label_errors[0].suggested)
    text = format_label_report(report, shown=1, more="see the table")
    assert report.label_errors[0].track in text
    assert report.label_errors[1].track not in text
    assert "1 more; see the table" in text


WRONG = "treble/newcomer/low"


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    """Three genres of tones; one low tone is among the high ones."""
    folder = tmp_path_factory.mktemp("music")
    write_music(folder, artists=4, tracks=1)
    path = folder / f"{WRONG}.wav"
    path.parent.mkdir()
    soundfile.write(path, tone(115, seed=77), RATE)
    return folder


@pytest.mark.parametrize("with_embedder", [False, True])
def test_the_stages_list_and_show_a_track_in_the_folder_of_another_genre(music, with_embedder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("genreflow"), "handlers", [])
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"].update(source="folder", path=str(music), tracks=None)
    params["compute"]["n_jobs"] = 1
    params["tune"]["architectures"] = ["efficient"]
    if with_embedder:
        params["features"].update(PATCH_SPEC.to_dict())
        params["embedding"].update(file=str(write_network(tmp_path / "toy.onnx")), licence="MIT")
        params["tune"]["architectures"] = ["embedder"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    for stage in ("ingest", "featurize", "embed", "audit", "label-errors", "audit-report"):
        main(stage)
    report = json.loads(LABEL_ERRORS.read_text())
    assert [(row["track"], row["label"], row["suggested"]) for row in report["label_errors"]] == [
        (WRONG, "treble", "bass")
    ]
    assert report["judged"] == report["tracks"] == 13
    assert report["features"].startswith("embeddings (toy" if with_embedder else "summary statistics")
    page = AUDIT_PAGE.read_text()
    section = page[page.index('<section id="label-errors">') :]
    assert section.index(WRONG) < section.index("<b>bass</b>") < section.index("data:audio/mpeg;base64,")


def test_the_command_line_lists_label_errors_of_a_folder(music, tmp_path):
    page = tmp_path / "page.html"
    for options in (["--json"], ["--html", str(page)]):
        done = CliRunner().invoke(cli, ["audit", str(music), "--labels", "--jobs", "1", *options])
        assert done.exit_code == 0
        assert WRONG in done.stdout
        if "--json" in options:
            found = json.loads(done.stdout)["labels"]["label_errors"]
            assert [row["track"] for row in found] == [WRONG]
    assert '<section id="label-errors">' in page.read_text()
