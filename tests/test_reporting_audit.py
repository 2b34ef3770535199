"""The audit's page: everything in one file, for people."""

import base64
import html
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from PIL import Image

from genreflow.audit.manifest import audit_manifest
from genreflow.audit.params import AuditParams
from genreflow.cli import cli
from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore, update
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Track
from genreflow.reporting.audit import pictures
from genreflow.reporting.audit.page import MOST_PICTURES, write_page
from genreflow.reporting.audit.pictures import Strip

FRAMES = 90
SVG = "{http://www.w3.org/2000/svg}"


def random_frames(seed: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (FRAMES, 128), dtype=np.uint8)]


def store_of(folder, tracks, compute=random_frames) -> FeatureStore:
    items = [(track.hash, number) for number, track in enumerate(tracks)]
    update(folder, FeatureSpec(), items, compute, n_jobs=1, progress=False)
    return FeatureStore.open(folder)


def track(name: str, **fields) -> Track:
    facts = {"genre": "jazz", "group": name, "hash": f"hash of {name}", "duration": 2.0, "peak": 0.5, "rms": 0.1}
    return Track(id=name, path=f"{name}.wav", **{"group_source": "folder", "sample_rate": 22050, **facts, **fields})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of a few faults, its audit, and where it lies."""
    folder = tmp_path_factory.mktemp("page")
    tracks = [
        track("rock/<b>loud</b> & co", genre="rock", clipped=0.25),
        track("jazz/cut", declared_duration=9.0),
        track("jazz/silent", peak=0.0, rms=0.0, duration=31.0),
        track("jazz/same", hash="hash of jazz/cut"),
        track("jazz/claimed"),
        track("rock/claimed", genre="rock", hash="hash of jazz/claimed"),
        track("jazz/broken", hash=None, error={"code": "undecodable", "message": "jazz/broken.wav cannot be decoded."}),
        track("disco.00098"),
        track("disco.00099", hash="hash of disco.00098"),
    ]
    manifest = Manifest.from_tracks("folder", tracks, notes=["Nobody knows <why>."])
    store = store_of(folder / "store", [of for of in tracks if of.hash])
    report = audit_manifest(manifest, store, AuditParams())
    write_page(folder / "page.html", report, manifest, store)
    return (folder / "page.html").read_text("utf-8"), report, (folder, manifest, store)


def test_page_names_every_fault_and_escapes_names(page):
    text, report, _ = page
    assert {fault.code for fault in report.faults} == {
        "clipped", "truncated", "silent", "duplicate", "conflicting_labels", "undecodable",
    }  # fmt: skip
    for fault in report.faults:
        assert fault.message in html.unescape(text)
        assert f'<section id="{fault.code}">' in text
    assert "<b>loud" not in text
    assert "&lt;b&gt;loud&lt;/b&gt; &amp; co" in text
    assert "Nobody knows &lt;why&gt;." in text


def test_page_asks_no_other_host(page):
    text, _, _ = page
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<script|<link|<iframe|@import|url\((?!#)", text)
    assert set(re.findall(r'(?:src|href)="([^"#]{1,15})', text)) == {"data:image/jpeg"}


def test_the_same_audit_gives_the_same_bytes(page):
    text, report, (folder, manifest, store) = page
    write_page(folder / "again.html", report, manifest, store)
    assert (folder / "again.html").read_text("utf-8") == text


def test_page_counts_tracks_and_shows_distributions(page):
    text, _, _ = page
    tiles = {name: number for number, name in re.findall(r'tile"><b[^>]*>([\d.]+)</b><span>([\w ]+)<', text)}
    assert tiles == {"tracks": "9", "usable": "3", "left out": "6", "flagged": "2", "hours": "0.0"}
    for title in ("Length", "Level", "Sample rates", "Genres"):
        assert f"<h3>{title}" in text
    assert "22 050 Hz" in text


def test_page_shows_published_faults_and_whether_they_are_seen(page):
    text, _, _ = page
    table = text[text.index("Published faults of GTZAN") :]
    row = table[table.index("<tr><td>exact</td>") :]
    row = row[: row.index("</tr>")]
    assert "disco.00098, disco.00099" in row
    assert ">found</td>" in row
    assert "arXiv:1306.1461" in row


def test_a_thousand_faults_make_no_large_page(tmp_path):
    tracks = [track(f"jazz/{number:04}", clipped=0.5, declared_duration=9.0) for number in range(500)]
    manifest = Manifest.from_tracks("folder", tracks)
    store = store_of(tmp_path / "store", tracks)
    report = audit_manifest(manifest, store, AuditParams(near_duplicates=False))
    assert len(report.faults) == 1000
    write_page(tmp_path / "page.html", report, manifest, store)
    text = html.unescape((tmp_path / "page.html").read_text("utf-8"))
    assert text.count("data:image/jpeg") == 2 * MOST_PICTURES
    assert len(text) < 5e6
    for fault in report.faults:
        assert fault.message in text


def test_the_command_writes_the_page_and_takes_a_table_of_tracks(tmp_path):
    for number in range(2):
        path = tmp_path / "music" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        sf.write(path, np.random.default_rng(number).uniform(-0.5, 0.5, 8000 * 2), 8000)
    (tmp_path / "tracks.csv").write_text("track,genre,artist\n0,jazz,Ann\n1,rock,Ann\n")
    options = ("--tracks", str(tmp_path / "tracks.csv"), "--html", str(tmp_path / "page.html"), "--jobs", "1")
    done = CliRunner().invoke(cli, ["audit", str(tmp_path / "music"), *options], catch_exceptions=False)
    assert done.exit_code == 0
    assert "2 tracks, 2 usable: 0 left out, 1 flagged" in done.stdout
    sentence = "Artist ann has tracks in 2 genres: jazz (1), rock (1)"
    assert sentence in done.stdout
    assert sentence in (tmp_path / "page.html").read_text("utf-8")


def low_tone(_) -> list[np.ndarray]:
    frames = np.zeros((FRAMES, 128), np.uint8)
    frames[:30, :32] = 255  # the first third, the lowest quarter
    return [frames]


def test_a_picture_has_the_low_band_at_the_bottom_and_time_to_the_right(tmp_path):
    store = store_of(tmp_path / "store", [track("a")], low_tone)
    svg = ElementTree.fromstring(pictures.spectrogram([Strip("hash of a", "a <name>")], store))
    image = svg.find(f"{SVG}image")
    data = base64.b64decode(image.get("href").partition("base64,")[2])
    cells = np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float)
    rows, columns = cells.shape
    assert cells[-rows // 5 :, : columns // 4].mean() > 150
    assert cells[: rows // 2].mean() < 20
    assert cells[:, columns // 2 :].mean() < 20
    words = [text.text for text in svg.iter(f"{SVG}text")]
    assert "a <name>" in words
    assert {"250", "1k", "4k", "10k", "Hz"} <= set(words)
    assert words[-1].endswith(" s")
    heights = {text.text: float(text.get("y")) for text in svg.iter(f"{SVG}text")}
    assert heights["250"] > heights["1k"] > heights["4k"] > heights["10k"]


def test_a_pair_is_aligned_by_its_offset(tmp_path):
    store = store_of(tmp_path / "store", [track("a"), track("b")])
    seconds = store.spec.seconds(FRAMES)
    svg = ElementTree.fromstring(
        pictures.spectrogram([Strip("hash of a", "a"), Strip("hash of b", "b", start=-0.7)], store)
    )
    first, second = svg.findall(f"{SVG}image")
    width = float(first.get("width"))
    assert width == pytest.approx(float(second.get("width")), abs=0.2)
    shift = float(first.get("x")) - float(second.get("x"))
    assert shift == pytest.approx(0.7 / seconds * width, abs=0.3)


def notes(delay: int) -> list[np.ndarray]:
    """The same notes at random, `delay` frames late."""
    rng = np.random.default_rng(3)
    frames = np.zeros((900, 128))
    for _ in range(400):
        begin, band, length = rng.integers(840), rng.integers(4, 124), rng.integers(10, 60)
        decay = np.linspace(rng.uniform(120, 255), 0, length)
        frames[begin : begin + length, band - 1 : band + 2] += decay[:, None] * [0.5, 1, 0.5]
    return [np.r_[np.zeros((delay, 128)), frames].clip(0, 255).astype(np.uint8)]


def test_near_duplicates_are_shown_as_pairs_with_their_music_aligned(tmp_path):
    tracks = [track("first"), track("second")]
    manifest = Manifest.from_tracks("folder", tracks)
    store = store_of(tmp_path / "store", tracks, lambda number: notes(43 * number))
    report = audit_manifest(manifest, store, AuditParams())
    (pair,) = report.pairs
    assert pair.offset == pytest.approx(1.0, abs=0.05)
    write_page(tmp_path / "page.html", report, manifest, store)
    text = (tmp_path / "page.html").read_text("utf-8")
    section = text[text.index('<section id="near_duplicate">') :]
    (svg,) = (ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", section, re.DOTALL))
    first, second = (float(image.get("x")) for image in svg.findall(f"{SVG}image"))
    assert first > second
