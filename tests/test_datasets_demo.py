"""The demo data: complete, reproducible from the seed, audible, with artists that differ."""

import hashlib

import numpy as np
import pytest
import soundfile
import yaml

from genreflow.datasets.demo import artists, compose, load_settings
from genreflow.datasets.demo.genres import GENRES, TRAITS
from genreflow.datasets.demo.harmony import SCALES, bass_note, chord, melody, voicing
from genreflow.datasets.demo.record import track
from genreflow.datasets.demo.rhythm import fit, hits, step_time
from genreflow.datasets.demo.score import write_score
from genreflow.datasets.demo.voices import SAMPLE_RATE, VOICES, Tone, frequency
from genreflow.errors import ParameterError

SMALL = {"seed": 5, "artists_per_genre": 3, "tracks_per_artist": 2, "seconds": 3.0}


def write_settings(folder, name="demo.yaml", **changes):
    path = folder / name
    path.write_text(yaml.safe_dump(SMALL | changes), encoding="utf-8")
    return path


def digests(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.flac")}


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    compose(write_settings(folder), folder / "music", n_jobs=2, progress=False)
    return folder / "music"


def test_every_genre_artist_and_track_exists(composed):
    assert sorted(p.name for p in composed.iterdir()) == sorted(GENRES)
    assert len(GENRES) == 10
    folders = [p for genre in composed.iterdir() for p in genre.iterdir()]
    assert len(folders) == 30
    assert len({p.name for p in folders}) == 30, "an artist in two genres would be one group in a split"
    assert all(len(list(p.glob("*.flac"))) == 2 for p in folders)
    assert len({p.stem for p in composed.rglob("*.flac")}) == 60
    assert not [p for p in composed.parent.iterdir() if p.name.startswith(".")], "a temporary folder is left"


def test_tracks_are_audible_and_not_clipped(composed):
    lengths = set()
    for path in composed.rglob("*.flac"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")
        y, _ = soundfile.read(path)
        assert 2.7 <= y.size / SAMPLE_RATE <= 3.3
        assert 0.4 < np.abs(y).max() < 0.95, path
        assert np.sqrt(np.mean(y * y)) > 0.01, path
        half_seconds = y[: y.size // 11025 * 11025].reshape(-1, 11025)
        assert np.mean(np.abs(half_seconds).max(1) > 0.02) > 0.6, f"{path} is mostly silent"
        assert abs(y.mean()) < 0.01
        lengths.add(y.size)
    assert len(lengths) > 30, "durations must vary"


def test_equal_settings_give_equal_bytes_for_any_number_of_processes(composed, tmp_path):
    compose(write_settings(tmp_path), tmp_path / "again", n_jobs=1, progress=False)
    assert digests(tmp_path / "again") == digests(composed)


def test_music_depends_on_the_seed_but_not_on_the_number_of_artists(tmp_path):
    def first_track(**changes):
        settings = load_settings(write_settings(tmp_path, **changes))
        return track(artists.artists_of(GENRES["waltz"], settings)[0], 1, settings)

    first = first_track()
    np.testing.assert_array_equal(first, first_track(artists_per_genre=7, tracks_per_artist=9))
    other = first_track(seed=6)
    assert first.size != other.size or not np.array_equal(first, other)


def test_artists_differ_more_than_their_own_tracks(composed):
    """Their long-term spectrum does, which is what a leaking split exploits."""

    def timbre(path):
        y, _ = soundfile.read(path)
        power = np.mean(np.abs(np.fft.rfft(y[: y.size // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024))) ** 2, 0)
        bands = np.add.reduceat(power, np.unique(np.geomspace(2, 480, 20).astype(int)))
        return 10 * np.log10(bands / bands.sum() + 1e-9)

    within, between = [], []
    for genre in composed.iterdir():
        spectra = np.array([[timbre(p) for p in sorted(a.iterdir())] for a in sorted(genre.iterdir())])
        within.append(np.mean(np.abs(spectra[:, 0] - spectra[:, 1])))
        between += [np.mean(np.abs(spectra[i, 0] - spectra[j, 1])) for i in range(3) for j in range(3) if i != j]
    assert np.mean(between) > 1.3 * np.mean(within)


@pytest.mark.parametrize(
    "changes",
    [
        {"artist_per_genre": 4},
        {"artists_per_genre": 2},
        {"seconds": "long"},
        {"tracks_that_borrow": 1.5},
        {"seed": -1},
        {"seconds": float("nan")},
    ],
)
def test_invalid_settings_are_named_and_nothing_is_written(tmp_path, changes):
    path = write_settings(tmp_path, **changes)
    with pytest.raises(ParameterError, match=rf"^{path}: {next(iter(changes))} ") as caught:
        compose(path, tmp_path / "music", progress=False)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["demo.yaml"]


@pytest.mark.parametrize("text", ["- a list", "", "seed: [1", "seed: 1\n\tx: 2"])
def test_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=r"odd\.yaml"):
        load_settings(path)


def test_missing_settings_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"^data\.path: .*nowhere\.yaml"):
        compose(tmp_path / "nowhere.yaml", tmp_path / "music", progress=False)
    assert not (tmp_path / "music").exists()


def test_folder_that_is_not_empty_is_not_overwritten(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "mine.wav").write_text("precious")
    with pytest.raises(ParameterError, match=r"music: must be empty"):
        compose(write_settings(tmp_path), tmp_path / "music", progress=False)
    assert [p.name for p in (tmp_path / "music").iterdir()] == ["mine.wav"]


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    written = []

    def fail_at_the_fourth(file, *args, **kwargs):
        if len(written) == 3:
            raise OSError("disk full")
        file.write(b"x")
        written.append(file)

    monkeypatch.setattr(soundfile, "write", fail_at_the_fourth)
    with pytest.raises(OSError, match="disk full"):
        compose(write_settings(tmp_path), tmp_path / "music", n_jobs=1, progress=False)
    assert len(written) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["demo.yaml"]


def test_genre_table_is_consistent():
    for genre in GENRES.values():
        assert set(genre.neighbours) <= set(GENRES) - {genre.name}
        assert all(hasattr(genre, trait) for trait in TRAITS)
        assert 40 <= genre.pulse.tempo[0] < genre.pulse.tempo[1] <= 200
        instruments = genre.instruments
        assert {*instruments.lead, *instruments.chords, *instruments.bass} <= set(VOICES)
        assert set(genre.harmony.scales) <= set(SCALES)
        for progression in genre.harmony.progressions:
            assert all(len(chord(symbol)) >= 3 for symbol in progression.split())
        bar = 4 * genre.rhythm.beats
        patterns = [*genre.figures.bass, *genre.figures.chords, *genre.figures.melody]
        patterns += [p for drums in genre.rhythm.drums for p in drums.values()]
        assert {len(p) for p in patterns} == {bar}, genre.name


def test_share_of_borrowing_is_exact_and_one_trait_is_borrowed():
    assert sum(artists.is_selected(n, 0.34) for n in range(6)) == 2
    assert sum(artists.is_selected(n, 0.25) for n in range(4)) == 1
    assert not any(artists.is_selected(n, 0.0) for n in range(20))
    assert all(artists.is_selected(n, 1.0) for n in range(20))
    rng = np.random.default_rng(0)
    for genre in GENRES.values():
        borrowed = artists.borrow(rng, genre)
        changed = [trait for trait in TRAITS if getattr(borrowed, trait) != getattr(genre, trait)]
        assert borrowed.name == genre.name
        assert len(changed) == 1
        assert any(getattr(borrowed, changed[0]) == getattr(GENRES[n], changed[0]) for n in genre.neighbours)


def test_chords_and_voicings():
    assert chord("ii7") == (2, 5, 9, 12)
    assert chord("bVII") == (10, 14, 17)
    assert chord("i5") == (0, 7, 12)
    assert chord("Imaj7") == (0, 4, 7, 11)
    with pytest.raises(ValueError, match="iiii"):
        chord("iiii")
    assert voicing(chord("I"), 0, 60) == [55, 60, 64]
    assert bass_note(chord("V"), 0, 40, "1") == 43
    assert bass_note(chord("v"), 0, 40, "3") == 46


def test_melody_stays_in_scale_and_register_with_chord_tones_on_strong_beats():
    rng = np.random.default_rng(3)
    onsets = [[(0, True), (2, False), (4, True), (7, False)]] * 8
    chords = [chord(c) for c in ("I", "IV", "V", "I") * 2]
    bars = melody(rng, onsets, chords, scale="major", key=2, centre=70)
    scale = {(2 + s) % 12 for s in SCALES["major"]}
    for bar_onsets, tones, notes in zip(onsets, chords, bars, strict=True):
        for (_, strong), pitch in zip(bar_onsets, notes, strict=True):
            assert pitch % 12 in scale
            assert 58 <= pitch <= 82
            assert not strong or pitch % 12 in {(2 + t) % 12 for t in tones}


def test_patterns_are_fitted_and_swung():
    assert fit("X..x", 10) == "X..xX..xX."
    assert list(hits("X..o")) == [(0, "X", 1.0, 3), (3, "o", 0.45, 1)]
    assert [step_time(s, 0.5) for s in (0, 1, 2, 4, 6)] == [0, 0.25, 0.5, 1, 1.5]
    assert step_time(6, 0.67) == pytest.approx(1.67)


@pytest.mark.parametrize("name", sorted(VOICES))
def test_voice_has_its_pitch(name):
    """The strongest partial near the fundamental is within a quarter tone of the frequency."""
    f = frequency(57)
    y = VOICES[name](f, 0.6, Tone(detune=0.0), np.random.default_rng(1))
    assert np.isfinite(y).all()
    assert y.size == round(0.6 * SAMPLE_RATE)
    assert 0.05 < np.abs(y).max() < 3
    assert abs(y[-1]) < 0.02, "the note ends in a click"
    if name in ("bell", "glass"):  # inharmonic
        return
    part = y[4000:10000] - y[4000:10000].mean()
    spectrum = np.abs(np.fft.rfft(part * np.hanning(part.size), 1 << 17))
    bins = np.fft.rfftfreq(1 << 17, 1 / SAMPLE_RATE)
    near = (bins > f * 2 ** (-2 / 12)) & (bins < f * 2 ** (2 / 12))
    measured = bins[near][spectrum[near].argmax()]
    assert abs(12 * np.log2(measured / f)) < 0.5


def test_score_has_all_parts_and_stays_within_its_bars(tmp_path):
    settings = load_settings(write_settings(tmp_path))
    artist = artists.artists_of(GENRES["march"], settings)[0]
    score = write_score(np.random.default_rng(0), artist, GENRES["march"], bars=4)
    assert {note.part for note in score} == {"lead", "chords", "bass", "drums"}
    assert {note.start // 16 for note in score} == {0, 1, 2, 3}
