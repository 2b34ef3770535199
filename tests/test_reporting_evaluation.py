"""The page of an evaluation, and what it is drawn from."""

import base64
import dataclasses
import io
import re
from html import unescape
from xml.etree import ElementTree

import markdown_it
import numpy as np
import pytest
import soundfile as sf

from genreflow.errors import GenreflowError
from genreflow.evaluation.metrics import evaluate
from genreflow.features.spec import FeatureSpec
from genreflow.files import write_csv, write_json
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.reporting.evaluation.charts import familiarity_curve, learning_curves
from genreflow.reporting.evaluation.data import (
    Evaluation,
    Prediction,
    Usage,
    accuracy_by_coverage,
    accuracy_by_familiarity,
    load_curves,
    most_confident_mistakes,
    reliability,
)
from genreflow.reporting.evaluation.model_card import write_model_card
from genreflow.reporting.evaluation.page import Part, Report, write_page
from genreflow.reporting.excerpts import SAMPLE_RATE, excerpt_uri
from genreflow.reporting.params import ReportParams
from genreflow.stages.stage_results import read_result
from serving_toy import write_toy_bundle

GENRES = ["jazz", "rock & <b>roll</b>"]
PREDICTIONS = [
    Prediction("a", GENRES[0], GENRES[0], 0.95),
    Prediction("b", GENRES[0], GENRES[1], 0.9),
    Prediction("c", GENRES[1], GENRES[1], 0.9),
    Prediction("d", GENRES[1], GENRES[0], 0.55),
]


class Spectrograms:
    """Random frames of the tracks a, b and d."""

    spec = FeatureSpec()

    def __contains__(self, key: str) -> bool:
        return key in ("hash of a", "hash of b", "hash of d")

    def pieces(self, key: str) -> list[np.ndarray]:
        return [np.random.default_rng(len(key)).integers(0, 256, (90, 128), dtype=np.uint8)]


def record() -> dict:
    """Content of evaluation.json."""
    genres, index = GENRES, {genre: number for number, genre in enumerate(GENRES)}
    labels = np.array([index[p.actual] for p in PREDICTIONS])
    predicted = np.array([index[p.predicted] for p in PREDICTIONS])
    metrics = evaluate(np.eye(2)[predicted], labels, genres=genres)
    baseline = {"accuracy": 0.75, "accuracy_low": 0.5, "accuracy_high": 1.0, "probability_model_better": 0.2}
    return {
        "part": "test",
        "split": "group",
        "leaking": False,
        "notes": ["test: the model does not beat the baseline"],
        "baselines": [{"baseline": "SVM on summary statistics", "model_accuracy": 0.5, **baseline}],
        "abstained": 2,
        "unfamiliar": 1,
        "answered_accuracy": 0.5,
        "track": metrics,
        "segment": metrics,
    }


@pytest.fixture
def report(tmp_path):
    """A report on four tracks, read from files as the stage does."""
    write_json(tmp_path / "evaluation.json", record())
    write_json(tmp_path / "predictions.json", [vars(prediction) for prediction in PREDICTIONS])
    columns = {
        "epoch": 1,
        "accuracy": 0.4,
        "loss": 1.2,
        "val_accuracy": 0.5,
        "val_loss": 1.1,
        "val_track_accuracy": 0.6,
    }
    write_csv(tmp_path / "curves.csv", list(columns), [columns, columns | {"epoch": 2, "accuracy": 0.7}])
    write_json(
        tmp_path / "gate.json",
        {
            "registered_model": "genre-classifier-music",
            "version": "3",
            "promote": True,
            "reason": "It is better.",
            "times_test_split_used": 2,
        },
    )
    tracks = [
        Track(
            id=p.track,
            path=f"{p.track}.wav",
            genre=p.actual,
            group=p.track,
            group_source="folder",
            hash=f"hash of {p.track}",
            duration=3.0,
            sample_rate=22050,
            peak=0.5,
            rms=0.1,
        )
        for p in PREDICTIONS
    ]
    return Report(
        evaluation=read_result(tmp_path / "evaluation.json", Evaluation, stage="evaluate"),
        predictions=read_result(tmp_path / "predictions.json", list[Prediction], stage="evaluate"),
        curves=load_curves(tmp_path / "curves.csv"),
        usage=read_result(tmp_path / "gate.json", Usage, stage="evaluate"),
        manifest=Manifest.from_tracks("folder", tracks),
        parts=[Part("train", 10, 5), Part("test", 4, 4)],
        groups_known=True,
        lineage={"architecture": "efficient", "git_revision": "0123abc"},
    )


def render(markdown: str) -> str:
    return markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(markdown)


def card(tmp_path, report, bundle) -> str:
    write_model_card(tmp_path / "card.md", report, bundle)
    return (tmp_path / "card.md").read_text()


def test_a_model_card_has_figures_with_intervals_and_baselines(report, tmp_path):
    bundle = write_toy_bundle(tmp_path / "toy", labels=("jazz", "rock", "pop"))
    text = card(tmp_path, report, bundle)
    track = report.evaluation.track
    assert f"**50.0 %** of 4 test tracks correctly (95 %: {100 * track.accuracy_low:.1f} %" in text
    assert "does not beat SVM on summary statistics" in text
    assert "| SVM on summary statistics | 75.0 % | 50.0 % to 100.0 % | 0.20 |" in text
    assert "| train | 10 | 5 |" in text
    assert "has been used 2 times" in text
    assert re.search(r"\| jazz \| 2 \| 50 % \(\d+ to \d+\) .*\| rock .*\(1\) \|", text)
    for words in ("curl -F audio=@", "SyncHTTPClient", "abstains", "temperature 1.5", "git revision | 0123abc"):
        assert words in text
    assert render(text).count("<table>") == 4
    assert "demo" not in text
    assert "LEAKING" not in text
    assert "No pretrained" in text


def test_a_model_card_has_the_name_of_the_registered_model(report, tmp_path):
    bundle = write_toy_bundle(tmp_path / "toy")
    assert card(tmp_path, report, bundle).startswith("# genre-classifier-music, version 3\n")


def test_a_model_card_says_what_limits_the_figures(report, tmp_path):
    bundle = write_toy_bundle(tmp_path / "toy", lineage={"source": "demo"})
    leaking = dataclasses.replace(report.evaluation, part="leaking_test", leaking=True)
    text = card(tmp_path, dataclasses.replace(report, evaluation=leaking), bundle)
    assert "**LEAKING**" in text
    assert "50.0 %** of 4 leaking test tracks" in text
    assert "an artist in its training data" not in text
    assert "knows the 3 composed styles of the demo only" in text


def test_a_model_card_names_the_licence_of_pretrained_weights(report, tmp_path):
    bundle = write_toy_bundle(tmp_path / "toy")
    musicnn = {"name": "MSD_musicnn", "licence": "ISC", "copyright": "Copyright 2019 UPF", "parameters": 216_000}
    text = card(tmp_path, report, dataclasses.replace(bundle, embedder=musicnn))
    assert "network MSD_musicnn, 216,000 parameters. Licence: ISC. Copyright 2019 UPF." in text
    assert "Million Song Dataset, which may contain the artists" in text
    assert "No pretrained" not in text
    text = card(tmp_path, report, dataclasses.replace(bundle, embedder={"name": "own", "licence": "CC BY-NC-SA <4.0>"}))
    assert "network own. Licence: CC BY-NC-SA &lt;4.0&gt;." in text
    assert "other music, which may contain the artists" in text


def test_a_model_card_shows_names_as_text(report, tmp_path):
    names = ("<img src=x onerror=alert(1)>", "[link](javascript:alert(1))", "R&B *loud* `x`\n# heading", "a_b_c", "a|b")
    bundle = dataclasses.replace(write_toy_bundle(tmp_path / "toy"), labels=names)
    html = render(card(tmp_path, report, bundle))
    tags = {"h1", "h2", "p", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    assert {tag.removeprefix("/") for tag in re.findall(r"<(/?\w+)", html)} <= tags
    text = unescape(re.sub(r"<[^>]*>", "", html))
    assert ", ".join(" ".join(name.split()) for name in names) in text
    assert GENRES[1] in text


def write_sine(path, *, seconds: float, frequency: float = 440.0) -> None:
    time = np.arange(round(seconds * 44100)) / 44100
    sf.write(path, 0.4 * np.sin(2 * np.pi * frequency * time), 44100)


def test_the_page_shows_metrics_baselines_mistakes_and_lineage(report, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    write_sine(raw / "b.wav", seconds=3)
    params = ReportParams(excerpt_seconds=1)
    for name in ("page.html", "again.html"):
        write_page(tmp_path / name, report, params, Spectrograms(), raw)
    page = (tmp_path / "page.html").read_text()
    assert (tmp_path / "again.html").read_text() == page
    for text in (
        "50.0 %",
        "SVM on",
        "It is better.",
        "does not beat the baseline",
        "0123abc",
        "uses of this test",
        "1 unlike",
    ):
        assert text in page
    assert "<b>roll" not in page  # names of genres are names of folders
    assert not re.search(r'(src|href)="(http|//)', page)
    figures = re.findall(r"<figure.*?</figure>", page, re.S)
    assert ["confidence 0.90" in figures[0], "confidence 0.55" in figures[1], len(figures)] == [True, True, 2]
    assert "data:audio/mpeg;base64," in figures[0]
    assert "<audio" not in figures[1]  # there is no such file
    for svg in re.findall(r"<svg.*?</svg>", page, re.S):
        ElementTree.fromstring(svg)


def test_links_to_files_instead_of_excerpts(report, tmp_path):
    raw = tmp_path / "data" / "raw folder"
    raw.mkdir(parents=True)
    write_sine(raw / "b.wav", seconds=1)
    (tmp_path / "reports").mkdir()
    params = ReportParams(excerpt_seconds=0, mistakes=1)
    write_page(tmp_path / "reports" / "page.html", report, params, Spectrograms(), raw)
    assert re.findall(r'<audio[^>]* src="(.*?)"', (tmp_path / "reports" / "page.html").read_text()) == [
        "../data/raw%20folder/b.wav"
    ]


def test_an_excerpt_is_the_middle_of_the_file(tmp_path):
    time = np.arange(10 * 44100) / 44100
    y = np.where((time >= 4) & (time < 6), 0.5 * np.sin(2 * np.pi * 1000 * time), 0)
    sf.write(tmp_path / "x.wav", y, 44100)
    uri = excerpt_uri(tmp_path / "x.wav", duration=10.0, seconds=2.0)
    excerpt, rate = sf.read(io.BytesIO(base64.b64decode(uri.removeprefix("data:audio/mpeg;base64,"))))
    assert rate == SAMPLE_RATE
    assert abs(len(excerpt) / rate - 2) < 0.1
    inside = excerpt[rate // 4 : -rate // 4]
    assert abs(np.sqrt(np.mean(inside**2)) - 0.5 / np.sqrt(2)) < 0.02
    spectrum = np.abs(np.fft.rfft(inside))
    assert abs(np.argmax(spectrum) * rate / len(inside) - 1000) < 5


@pytest.mark.parametrize("content", [None, b"no audio"])
def test_a_file_that_cannot_be_decoded_has_no_excerpt(tmp_path, content):
    if content is not None:
        (tmp_path / "x.wav").write_bytes(content)
    assert excerpt_uri(tmp_path / "x.wav", duration=3.0, seconds=1.0) is None


def test_the_most_confident_mistakes_come_first():
    assert [mistake.track for mistake in most_confident_mistakes(PREDICTIONS, 5)] == ["b", "d"]
    assert [mistake.track for mistake in most_confident_mistakes(PREDICTIONS, 1)] == ["b"]


def test_reliability_by_hand():
    rows = reliability(PREDICTIONS)
    assert [(row["low"], row["n"], row["accuracy"]) for row in rows] == [(0.5, 1, 0.0), (0.8, 2, 0.5), (0.9, 1, 1.0)]
    assert rows[1]["confidence"] == pytest.approx(0.9)


def test_accuracy_by_coverage_does_not_separate_equal_confidences():
    coverage, accuracy = accuracy_by_coverage(PREDICTIONS)
    assert coverage == [0.25, 0.75, 1.0]
    assert accuracy == pytest.approx([1.0, 2 / 3, 0.5])


@pytest.mark.parametrize(
    "content", [None, b"", b"epoch,loss\n1,a\n", b"epoch,loss\n1\n", b"\xff\xfe", b"a\0\n1\n", b"epoch\n"]
)
def test_damaged_learning_curves_are_named(tmp_path, content):
    path = tmp_path / "curves.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GenreflowError, match=re.escape(str(path))):
        load_curves(path)


def test_a_diverged_fit_is_drawn():
    curves = {"loss": [1.0, float("nan")], "val_loss": [float("inf"), float("nan")]}
    svg = learning_curves(curves, {"loss": "training", "val_loss": "validation"}, share=False)
    ElementTree.fromstring(svg)
    assert "nan" not in svg
    assert "inf" not in svg


def test_accuracy_by_familiarity_has_groups_of_equal_size():
    distances = [0.05, 0.4, 0.1, None, 0.2, 0.3]
    predictions = [
        Prediction(str(number), "a", "a" if number % 2 else "b", 0.9, value) for number, value in enumerate(distances)
    ]
    rows = accuracy_by_familiarity(predictions, n_bins=2)
    assert [(row["low"], row["high"], row["n"], row["accuracy"]) for row in rows] == [
        (0.05, 0.1, 2, 0.0),
        (0.2, 0.4, 3, pytest.approx(2 / 3)),
    ]
    assert accuracy_by_familiarity(PREDICTIONS) == []
    assert familiarity_curve(PREDICTIONS) is None
    picture = ElementTree.fromstring(familiarity_curve(predictions))
    assert sum(element.tag.endswith("circle") for element in picture.iter()) == 5
