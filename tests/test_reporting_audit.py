"""The page of an audit."""

import base64
import html
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from PIL import Image

from genreflow.audit.kinds import KINDS
from genreflow.audit.manifest import audit_manifest
from genreflow.audit.params import AuditParams
from genreflow.cli import cli
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore
from genreflow.features.update import update
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.reporting.audit.histogram import histogram
from genreflow.reporting.audit.page import MAX_PICTURES, write_page
from genreflow.reporting.spectrogram import Strip, _colours, draw_spectrograms

FRAMES = 90
SVG = "{http://www.w3.org/2000/svg}"


def random_frames(seed: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (FRAMES, 128), dtype=np.uint8)]


def make_store(
    folder: Path, tracks: Sequence[Track], compute: Callable[[int], list[np.ndarray]] = random_frames
) -> FeatureStore:
    items = [(track.hash, number) for number, track in enumerate(tracks)]
    update(folder, FeatureSpec(), items, compute, n_jobs=1, progress=False)
    return FeatureStore.open(folder)


def make_track(name: str, **fields) -> Track:
    defaults = {"genre": "jazz", "group": name, "hash": f"hash of {name}", "duration": 2.0, "peak": 0.5, "rms": 0.1}
    return Track(id=name, path=f"{name}.wav", **{"group_source": "folder", "sample_rate": 22050, **defaults, **fields})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with a few faults, its audit, and what both were made from."""
    folder = tmp_path_factory.mktemp("page")
    tracks = [
        make_track("rock/<b>loud</b> & co", genre="rock", clipped=0.25),
        make_track("jazz/cut", declared_duration=9.0),
        make_track("jazz/silent", peak=0.0, rms=0.0, duration=31.0),
        make_track("jazz/same", hash="hash of jazz/cut"),
        make_track("jazz/claimed"),
        make_track("rock/claimed", genre="rock", hash="hash of jazz/claimed"),
        make_track(
            "jazz/broken", hash=None, error={"code": "undecodable", "message": "jazz/broken.wav cannot be decoded."}
        ),
        make_track("disco.00098"),
        make_track("disco.00099", hash="hash of disco.00098"),
    ]
    manifest = Manifest.from_tracks("folder", tracks, notes=["No licence <known>."])
    store = make_store(folder / "store", [track for track in tracks if track.hash])
    report = audit_manifest(manifest, store, AuditParams())
    write_page(folder / "page.html", report, manifest, store)
    return (folder / "page.html").read_text("utf-8"), report, (folder, manifest, store)


def test_the_page_lists_every_fault_and_escapes_names(page):
    text, report, _ = page
    assert {fault.code for fault in report.faults} == {
        "clipped", "truncated", "silent", "duplicate", "conflicting_labels", "undecodable",
    }  # fmt: skip
    for fault in report.faults:
        assert fault.message in html.unescape(text)
        assert f'<section id="{fault.code}">' in text
    assert "<b>loud" not in text
    assert "&lt;b&gt;loud&lt;/b&gt; &amp; co" in text
    assert "No licence &lt;known&gt;." in text


def test_the_page_makes_no_network_requests(page):
    text, _, _ = page
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script|<link|<iframe|@import|url\((?!#)", text)
    assert set(re.findall(r'(?:src|href)="([^"#]{1,15})', text)) == {"data:image/jpeg"}


def test_the_same_audit_gives_the_same_bytes(page):
    text, report, (folder, manifest, store) = page
    write_page(folder / "again.html", report, manifest, store)
    assert (folder / "again.html").read_text("utf-8") == text


def test_the_page_counts_tracks_and_shows_distributions(page):
    text, _, _ = page
    tiles = {name: number for number, name in re.findall(r'tile"><b[^>]*>([\d.]+)</b><span>([\w ]+)<', text)}
    assert tiles == {"tracks": "9", "usable": "3", "left out": "6", "flagged": "2", "hours": "0.0"}
    for title in ("Duration", "Level", "Sample rates", "Genres"):
        assert f"<h3>{title}" in text
    assert "22 050 Hz" in text


def test_the_page_shows_the_largest_share_of_one_track(page):
    text, report, _ = page
    card = text[text.index("<h3>Largest share of one track") :]
    shown = re.findall(r'<i title="([^"]+)"><i style="width: ([\d.]+)%">', card[: card.index("</div>\n</div>")])
    assert [(html.unescape(track), float(share)) for track, share in shown] == [
        (largest.track, round(100 * largest.share, 1)) for largest in report.largest_tracks.values()
    ]


def test_the_page_lists_published_faults_and_whether_the_audit_finds_them(page):
    text, _, _ = page
    table = text[text.index("Published faults of GTZAN") :]
    row = table[table.index("<tr><td>exact</td>") :]
    row = row[: row.index("</tr>")]
    assert "disco.00098, disco.00099" in row
    assert ">found</td>" in row
    assert "arXiv:1306.1461" in row


def test_the_number_of_pictures_is_limited(tmp_path):
    tracks = [make_track(f"jazz/{number:04}", clipped=0.5, declared_duration=9.0) for number in range(500)]
    manifest = Manifest.from_tracks("folder", tracks)
    store = make_store(tmp_path / "store", tracks)
    report = audit_manifest(manifest, store, AuditParams(near_duplicates=False))
    assert len(report.faults) == 1000
    write_page(tmp_path / "page.html", report, manifest, store)
    text = html.unescape((tmp_path / "page.html").read_text("utf-8"))
    assert text.count("data:image/jpeg") == 2 * MAX_PICTURES
    assert len(text) < 5e6
    for fault in report.faults:
        assert fault.message in text


def test_the_command_writes_the_page(tmp_path):
    for number in range(2):
        path = tmp_path / "music" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        sf.write(path, np.random.default_rng(number).uniform(-0.5, 0.5, 8000 * 2), 8000)
    (tmp_path / "tracks.csv").write_text("track,genre,artist\n0,jazz,Ann\n1,rock,Ann\n")
    options = ("--tracks", str(tmp_path / "tracks.csv"), "--html", str(tmp_path / "page.html"), "--jobs", "1")
    done = CliRunner().invoke(cli, ["audit", str(tmp_path / "music"), *options], catch_exceptions=False)
    assert done.exit_code == 0
    assert "2 tracks, 2 usable: 0 left out, 1 flagged" in done.stdout
    message = "Artist ann has tracks in 2 genres: jazz (1), rock (1)"
    assert message in done.stdout
    assert message in (tmp_path / "page.html").read_text("utf-8")


def low_tone(_) -> list[np.ndarray]:
    frames = np.zeros((FRAMES, 128), np.uint8)
    frames[:30, :32] = 255  # in the first third of the time, the lowest quarter of the bands
    return [frames]


def test_a_spectrogram_has_time_to_the_right_and_frequency_upwards(tmp_path):
    store = make_store(tmp_path / "store", [make_track("a")], low_tone)
    svg = ElementTree.fromstring(draw_spectrograms([Strip("hash of a", "a <name>")], store))
    image = svg.find(f"{SVG}image")
    data = base64.b64decode(image.get("href").partition("base64,")[2])
    cells = np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float)
    rows, columns = cells.shape
    assert cells[-rows // 5 :, : columns // 4].mean() > 150
    assert cells[: rows // 2].mean() < 20
    assert cells[:, columns // 2 :].mean() < 20
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert "a <name>" in texts
    assert {"250", "1k", "4k", "10k", "Hz"} <= set(texts)
    assert texts[-1].endswith(" s")
    heights = {text.text: float(text.get("y")) for text in svg.iter(f"{SVG}text")}
    assert heights["250"] > heights["1k"] > heights["4k"] > heights["10k"]


def test_two_spectrograms_share_a_time_axis(tmp_path):
    store = make_store(tmp_path / "store", [make_track("a"), make_track("b")])
    seconds = store.spec.seconds(FRAMES)
    svg = ElementTree.fromstring(
        draw_spectrograms([Strip("hash of a", "a"), Strip("hash of b", "b", start=-0.7)], store)
    )
    first, second = svg.findall(f"{SVG}image")
    width = float(first.get("width"))
    assert width == pytest.approx(float(second.get("width")), abs=0.2)
    shift = float(first.get("x")) - float(second.get("x"))
    assert shift == pytest.approx(0.7 / seconds * width, abs=0.3)


def delayed_notes(delay: int) -> list[np.ndarray]:
    """Return random notes, always the same, after `delay` frames of silence."""
    rng = np.random.default_rng(3)
    frames = np.zeros((900, 128))
    for _ in range(400):
        begin, band, length = rng.integers(840), rng.integers(4, 124), rng.integers(10, 60)
        decay = np.linspace(rng.uniform(120, 255), 0, length)
        frames[begin : begin + length, band - 1 : band + 2] += decay[:, None] * [0.5, 1, 0.5]
    return [np.r_[np.zeros((delay, 128)), frames].clip(0, 255).astype(np.uint8)]


def test_near_duplicates_are_shown_as_aligned_pairs(tmp_path):
    tracks = [make_track("first"), make_track("second")]
    manifest = Manifest.from_tracks("folder", tracks)
    store = make_store(tmp_path / "store", tracks, lambda number: delayed_notes(43 * number))
    report = audit_manifest(manifest, store, AuditParams())
    (pair,) = report.pairs
    assert pair.offset == pytest.approx(1.0, abs=0.05)
    write_page(tmp_path / "page.html", report, manifest, store)
    text = (tmp_path / "page.html").read_text("utf-8")
    section = text[text.index('<section id="near_duplicate">') :]
    (svg,) = (ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", section, re.DOTALL))
    first, second = (float(image.get("x")) for image in svg.findall(f"{SVG}image"))
    assert first > second


def test_a_histogram_has_a_bar_for_every_occupied_bin_and_one_for_a_single_track():
    svg = ElementTree.fromstring(histogram({"peak": [0.0] * 900 + [40.0], "RMS": [20.0] * 30}, unit="level"))
    peak, rms = (svg.find(f"{SVG}path[@class='series{n}']").get("d") for n in (0, 1))
    heights = [[float(height) for height in re.findall(r"V([\d.]+)H", path)] for path in (peak, rms)]
    bottom = float(re.search(r"H[\d.]+V([\d.]+)", peak).group(1))
    (most, single), (middle,) = heights
    assert most < middle < single < bottom
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"1", "10", "100", "peak", "RMS", "level", "tracks", "20"} <= set(texts)
    assert "1000" not in texts


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [-1e-9, 1e9]])
def test_a_histogram_of_any_range_can_be_drawn(values):
    svg = ElementTree.fromstring(histogram({"duration": values}, unit="duration [s]"))
    assert svg.find(f"{SVG}path[@class='series0']").get("d")
    assert "nan" not in ElementTree.tostring(svg, encoding="unicode")


def test_the_colours_are_those_of_magma():
    """Against the published colour map, at levels between the ones that are stored."""
    colours = _colours()
    assert (colours[0].tolist(), colours[255].tolist()) == ([0, 0, 4], [252, 253, 191])
    for level, published in {64: (81, 18, 124), 128: (183, 55, 121), 192: (252, 137, 97)}.items():
        assert np.abs(colours[level].astype(int) - published).max() <= 3
    assert (np.diff(colours[::5].astype(int) @ [2126, 7152, 722]) > 0).all(), "brightness must increase with the level"


def test_a_page_without_faults_says_what_was_checked(tmp_path):
    tracks = [make_track(f"jazz/{number}") for number in range(3)]
    manifest = Manifest.from_tracks("folder", tracks)
    store = make_store(tmp_path / "store", tracks)
    for params, searched in ((AuditParams(), True), (AuditParams(near_duplicates=False), False)):
        report = audit_manifest(manifest, store, params)
        assert report.faults == ()
        write_page(tmp_path / "page.html", report, manifest, store)
        text = html.unescape((tmp_path / "page.html").read_text("utf-8"))
        shown = set(re.findall(r"<tr><td>([^<]+)</td>", text))
        assert shown == {kind.title for code, kind in KINDS.items() if searched or code != "near_duplicate"}


def test_the_picture_of_a_short_excerpt_shows_its_surroundings_in_a_long_track(tmp_path):
    """On the time axis of the whole track, the excerpt would be too narrow to be seen."""

    start = 4000  # of the excerpt in the long track [frames]

    def frames(number: int) -> list[np.ndarray]:
        levels = np.zeros((20_000 if number else 200, 128), np.uint8)
        levels[slice(start, start + 200) if number else slice(None)] = 255
        return [levels]

    tracks = [make_track("short"), make_track("long")]
    store = make_store(tmp_path / "store", tracks, frames)
    strips = [Strip("hash of short", "short", store.spec.seconds(start)), Strip("hash of long", "long")]
    picture = draw_spectrograms(strips, store)
    short, long = ElementTree.fromstring(picture).findall(f"{SVG}image")
    widths = [float(image.get("width")) for image in (short, long)]
    assert widths[0] / widths[1] == pytest.approx(1 / 5, abs=0.01)
    middle = [float(image.get("x")) + float(image.get("width")) / 2 for image in (short, long)]
    assert middle[0] == pytest.approx(middle[1], abs=1)
    pixels = base64.b64decode(long.get("href").split(",")[1])
    bright = np.asarray(Image.open(io.BytesIO(pixels)).convert("L")).mean(axis=0) > 128
    assert np.flatnonzero(bright) / len(bright) == pytest.approx(np.linspace(0.4, 0.6, bright.sum()), abs=0.02)
