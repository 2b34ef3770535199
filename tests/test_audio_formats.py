"""Compressed formats: complete to the last sample, whatever a header declares, and nothing but the file is opened."""

import io
import re
import shutil
import struct
import subprocess
import sys
import time
from functools import cache

import av
import numpy as np
import pytest
import soundfile as sf

from conftest import ROOT
from encoded import KINDS, LOSSLESS, Kind, encode, joined
from genreflow.audio.decode import iter_mono, load
from genreflow.audio.ffmpeg_reader import FfmpegReader
from genreflow.audio.formats import AUDIO_SUFFIXES, DECODERS, DEMUXERS, FORMATS, describe_formats
from genreflow.audio.input_file import InputFile
from genreflow.audio.properties import AudioFacts, inspect
from genreflow.audio.readers import open_reader
from genreflow.errors import AudioError


def sound(seconds: float, rate: int, channels: int = 1, *, seed: int = 0) -> np.ndarray:
    """Return tones over noise [shape=(channels, n)]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    hz = 440 * 1.3 ** (np.arange(channels)[:, None] + seed)
    return 0.3 * np.sin(2 * np.pi * hz * t) + 0.02 * rng.standard_normal((channels, t.size))


@cache
def file(
    kind: str, seconds: float = 2.0, channels: int = 1, *, rate: int = 0, seed: int = 0, video: bool = False
) -> bytes:
    rate = rate or KINDS[kind].sample_rate
    return encode(sound(seconds, rate, channels, seed=seed), rate, kind, video=video)


@cache
def vorbis(seconds: float, *, rate: int = 44100, channels: int = 1, seed: int = 0, subtype: str = "VORBIS") -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, sound(seconds, rate, channels, seed=seed).T, rate, format="OGG", subtype=subtype)
    return buffer.getvalue()


def facts(data: bytes, **options) -> AudioFacts:
    return inspect(io.BytesIO(data), **options)


def code_of(data: bytes, **options) -> str:
    with pytest.raises(AudioError) as caught:
        facts(data, **options)
    with pytest.raises(AudioError) as again:
        list(iter_mono(io.BytesIO(data), sample_rate=22050, **options))
    assert caught.value.code == again.value.code
    return caught.value.code


def samples(data: bytes) -> np.ndarray:
    """Decode at the native sample rate, float32 [shape=(channels, n)]."""
    blocks = []
    with open_reader(io.BytesIO(data)) as reader:
        while (block := reader.read(10_000).samples).shape[1]:
            blocks.append(block)
    return np.concatenate(blocks, axis=1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_decoded_to_the_end(kind, channels):
    data = file(kind, channels=channels)
    found = facts(data)
    assert (found.sample_rate, found.channels) == (KINDS[kind].sample_rate, channels)
    assert found.duration == pytest.approx(2.0, abs=0.06)
    assert not found.declared or abs(found.declared - found.duration) < 0.05
    assert found.damaged == 0
    if kind in LOSSLESS:
        original = sound(2.0, KINDS[kind].sample_rate, channels)
        np.testing.assert_allclose(samples(data), original, atol=1 / 32768)


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_an_upload_and_a_file_behind_tags_are_alike(tmp_path, kind):
    path = tmp_path / "song.unknown"
    path.write_bytes(file(kind))
    assert facts(file(kind)) == inspect(path)
    picture = b"ID3\x04\0\0" + bytes((0, 0x5F, 0x7F, 0x7F))  # 1.5 MB, beyond which FFmpeg does not look
    tagged = picture + bytes(0x5F << 14 | 0x7F << 7 | 0x7F) + b"ID3\x03\0\0\0\0\0\x05" + bytes(5) + file(kind)
    assert facts(tagged) == inspect(path)


@pytest.mark.parametrize("channels", [3, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["flac", "wavpack"])
def test_many_channels_keep_their_order(kind, channels):
    y = np.zeros((channels, 44100))
    for channel in range(channels):
        y[channel] = 0.1 * (channel + 1) * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    level = np.abs(samples(encode(y, 44100, kind))[:, 5000:40000]).max(axis=1)
    np.testing.assert_allclose(level, 0.1 * np.arange(1, channels + 1), rtol=1e-3)


@pytest.mark.parametrize("kind", ["ogg-flac", "ogg-opus", "webm", "m4a"])
def test_video_is_ignored(kind):
    data = file(kind, video=True)
    with av.open(io.BytesIO(data)) as container:
        assert len(container.streams.video) == 1
    assert facts(data).hash == facts(file(kind)).hash


def test_of_several_streams_the_first_with_audio_is_decoded():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        streams = [container.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(2)]
        for stream, level in zip(streams, (0.25, 0.5), strict=True):
            frame = av.AudioFrame.from_ndarray(np.full((1, 4000), level * 32768, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, 0
            for packet in stream.encode(frame) + stream.encode(None):
                container.mux(packet)
    np.testing.assert_array_equal(samples(buffer.getvalue()), np.full((1, 4000), 0.25))


def test_pictures_are_not_decoded():
    assert not [name for name in DECODERS if av.Codec(name, "r").type != "audio"]


def test_the_formats_are_known_to_ffmpeg():
    for demuxer in DEMUXERS:
        assert not av.ContainerFormat(demuxer, "r").no_file  # as devices and networks are


def test_the_formats_in_messages_and_documentation_are_those_that_are_read():
    assert {".mp3", ".m4a", ".flac", ".ogg", ".opus", ".wav"} <= AUDIO_SUFFIXES
    names = describe_formats().replace(" or ", ", ").split(", ")
    assert names == [form.name for form in FORMATS[: len(names)]]
    for page in ("README.md", "docs/service.md"):
        text = (ROOT / page).read_text("utf-8")
        assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
    assert len(set(AUDIO_SUFFIXES)) == sum(len(form.suffixes) for form in FORMATS)


@pytest.mark.parametrize(
    "parts",
    [
        (vorbis(1.0), vorbis(2.0, seed=1)),
        (vorbis(1.0), vorbis(2.0, rate=22050)),
        (vorbis(1.0), vorbis(2.0, channels=2)),
        (vorbis(1.0, channels=2), vorbis(2.0)),
        (vorbis(1.0, rate=48000, subtype="OPUS"), vorbis(2.0, rate=48000, subtype="OPUS", seed=1)),
        (vorbis(1.0, rate=48000, subtype="OPUS"), vorbis(2.0, rate=48000, subtype="OPUS", channels=2)),
        (vorbis(1.0), vorbis(2.0, rate=48000, subtype="OPUS")),
        (file("ogg-flac", 1.0), file("ogg-flac", 2.0, rate=22050)),
        (file("ogg-opus", 1.0, video=True), file("ogg-opus", 2.0, video=True, seed=1)),
        (vorbis(1.0), vorbis(1.0, seed=1), vorbis(1.0, seed=2)),
    ],
)
def test_a_chained_ogg_file_is_as_long_as_its_links(parts):
    chained = joined(*parts)
    assert facts(chained).duration == pytest.approx(3.0, abs=0.01)
    y, _ = load(io.BytesIO(chained), sample_rate=8000)
    whole = np.concatenate([load(io.BytesIO(part), sample_rate=8000)[0] for part in parts])
    assert len(y) == pytest.approx(len(whole), abs=1)
    length = min(len(y), len(whole))
    apart = np.abs(y[:length] - whole[:length]) > 1e-4
    assert apart.mean() < 0.05  # near the joints only: links of the same sample rate are resampled together


@pytest.mark.parametrize("later", [{}, {"rate": 22050}, {"channels": 2}])
@pytest.mark.parametrize("kind", ["mp3", "mp3-vbr-no-xing", "mp2", "aac"])
def test_joined_files_are_decoded_completely(kind, later):
    data = file(kind, 1.0) + file(kind, 2.0, seed=1, **later)
    found = facts(data)
    assert found.duration == pytest.approx(3.0, abs=0.15)
    assert found.declared <= found.duration
    assert found.damaged < 0.02  # a tag between the files is no audio
    assert len(load(io.BytesIO(data), sample_rate=22050)[0]) / 22050 == pytest.approx(found.duration, abs=0.01)


@pytest.mark.parametrize("share", [0.25, 4.0])
def test_the_frame_count_of_a_compressed_file_ends_nothing(share):
    data = bytearray(file("mp3", 8.0))
    at = data.index(b"Info") + 8
    count = struct.unpack_from(">I", data, at)[0]
    struct.pack_into(">I", data, at, round(count * share))
    found = facts(bytes(data))
    assert found.duration == pytest.approx(8.0, abs=0.1)
    assert found.declared == pytest.approx(8.0 * share, abs=0.2)


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_the_number_of_samples_of_flac_ends_nothing(share):
    data = bytearray(file("flac", 8.0))
    struct.pack_into(">I", data, 22, round(8 * 44100 * share))
    found = facts(bytes(data))
    assert (found.duration, found.declared) == (8.0, 8.0 * share)


@pytest.mark.parametrize("kind", ["mp3-no-xing", "mp3-vbr-no-xing", "aac", "wma", "webm", "ogg-flac", "ogg-opus"])
def test_an_estimated_length_is_not_declared(kind):
    data = file(kind, 4.0)
    cover = bytes(200_000)  # what follows the audio, such as pictures in a tag, is not audio
    assert facts(data).declared == facts(data + cover).declared == 0


@pytest.mark.parametrize("kind", ["mp3", "mp3-vbr", "flac", "m4a-index-first", "wavpack", "tta", "aiff"])
def test_a_truncated_file_is_shorter_than_declared(kind):
    whole = file(kind, 4.0)
    found = facts(whole[: len(whole) * 6 // 10])
    assert found.duration == pytest.approx(2.4, abs=0.4)
    assert found.declared == pytest.approx(4.0, abs=0.06)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF])
@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF, None])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "MS_ADPCM"])
def test_a_wav_that_was_written_to_a_pipe_is_read_to_its_end(subtype, riff, size):
    buffer = io.BytesIO()
    sf.write(buffer, sound(1.0, 8000, 2).T, 8000, format="WAV", subtype=subtype)
    data = bytearray(buffer.getvalue())
    struct.pack_into("<I", data, data.index(b"data") + 4, size)
    if riff is not None:
        struct.pack_into("<I", data, 4, riff)
    found = facts(bytes(data))
    assert found.duration == pytest.approx(1.0, abs=0.13 if subtype == "MS_ADPCM" else 0)
    if subtype != "MS_ADPCM":
        assert found.hash == facts(buffer.getvalue()).hash


@pytest.mark.parametrize(
    ("form", "layout", "name", "offset"),
    [("AU", ">I", b".snd", 8), ("RF64", "<Q", b"ds64", 16), ("W64", "<Q", b"data", 16), ("CAF", ">q", b"data", 4)],
)
@pytest.mark.parametrize("size", [0, -1])
def test_so_are_other_formats(form, layout, name, offset, size):
    buffer = io.BytesIO()
    sf.write(buffer, sound(1.0, 8000).T, 8000, format=form, subtype="PCM_16")
    data = bytearray(buffer.getvalue())
    at = data.index(name) + offset
    data[at : at + struct.calcsize(layout)] = struct.pack(layout.lower() if size < 0 else layout, size)
    assert facts(bytes(data)).hash == facts(buffer.getvalue()).hash


def test_a_wav_without_samples_has_none():
    buffer = io.BytesIO()
    sf.write(buffer, np.zeros(0), 8000, format="WAV")
    tag = b"LIST" + struct.pack("<I", 20) + b"INFOISFT" + bytes(12)
    assert code_of(buffer.getvalue()) == code_of(buffer.getvalue() + tag) == "unusable"


@pytest.mark.parametrize("kind", ["mp3", "m4a", "flac", "webm", "ogg-opus"])
def test_too_long_a_file_is_refused_while_it_is_decoded(kind):
    assert code_of(file(kind, 4.0), max_seconds=3.5) == "too_long"
    assert facts(file(kind, 4.0), max_seconds=4.1).duration == pytest.approx(4.0, abs=0.06)


def test_the_length_of_all_links_is_limited():
    chained = joined(*[vorbis(1.0)] * 4)
    assert code_of(chained, max_seconds=3.5) == "too_long"
    assert facts(chained, max_seconds=4.5).duration == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize("kind", ["aac", "m4a-index-first", "mp3", "ac3"])
def test_damaged_packets_are_left_out(kind):
    data = file(kind, 8.0)

    def damaged(share: float) -> bytes:
        rng = np.random.default_rng(0)
        whole = bytearray(data)
        begin = len(whole) // 10
        stop = begin + round(share * len(whole))
        whole[begin:stop] = rng.integers(0, 256, stop - begin, dtype=np.uint8).tobytes()
        return bytes(whole)

    found = facts(damaged(0.05))
    assert 6 < found.duration < 8.1
    assert found.damaged < 0.1


def test_a_file_of_damaged_packets_is_undecodable():
    with av.open(io.BytesIO(file("mka-aac", 8.0))) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0)]
    data = bytearray(file("mka-aac", 8.0))
    for packet in packets[10:]:
        at = data.find(packet) if packet else -1
        if at >= 0:
            data[at : at + len(packet)] = b"\xff" * len(packet)
    assert code_of(bytes(data)) == "undecodable"


def test_a_damaged_link_is_left_out_unless_it_is_most_of_the_file():
    good, bad = vorbis(4.0), b"OggS\x00\x02" + bytes(1000)
    assert facts(good + bad).duration == pytest.approx(4.0, abs=0.01)
    assert facts(bad + good).duration == pytest.approx(4.0, abs=0.01)
    assert code_of(good + bad + bytes(200_000)) == "undecodable"
    assert code_of(bad + bad) == "undecodable"


@pytest.mark.parametrize(
    "pattern",
    [b"ID3\4\0\0\0\0\0\0", b"OggS\0\2", b"OggS\0\2" + bytes(21), b"OggS\0\2" + bytes(21) + b"OggS" + bytes(23)],
)
def test_a_file_of_tags_or_first_pages_costs_little(pattern):
    begin = time.process_time()
    assert code_of(pattern * (1_000_000 // len(pattern))) == "undecodable"
    assert time.process_time() - begin < 3


def test_the_decoders_print_nothing(tmp_path):
    """Not even of damaged files: the lines of FFmpeg and libsndfile are no messages for users."""
    rng = np.random.default_rng(0)
    for number, kind in enumerate(("mp3", "mp3-vbr", "m4a", "flac", "ogg-opus")):
        data = bytearray(file(kind, 4.0))
        for at in rng.integers(500, len(data), 50):
            data[at] ^= 0xFF
        (tmp_path / f"{number}-cut.mp3").write_bytes(file(kind)[:700])
        (tmp_path / f"{number}.mp3").write_bytes(b"ID3\x04\0\0\xff\0\0\0"[: 10 * (number % 2)] + data)
    code = (
        "import sys, pathlib; from genreflow.audio.properties import inspect\n"
        "from genreflow.errors import AudioError\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try: inspect(path)\n"
        "    except AudioError: pass\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True)
    assert run.stdout + run.stderr == b""


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\na=x:{}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation>'
    "<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "m3u": "{}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_no_other_file_is_opened(tmp_path, kind):
    wav = tmp_path / "secret.wav"
    sf.write(wav, sound(2.0, 44100).T, 44100)
    for target in (wav, f"file:{wav}", "secret.wav", "http://127.0.0.1:9/secret.wav"):
        playlist = tmp_path / f"list.{kind}"
        playlist.write_text(PLAYLISTS[kind].format(target))
        for source in (playlist, io.BytesIO(playlist.read_bytes())):
            with pytest.raises(AudioError) as caught:
                inspect(source)
            assert caught.value.code == "undecodable"


@pytest.mark.parametrize(("container", "codec"), [("avi", "libmp3lame"), ("mpegts", "aac"), ("nut", "pcm_s16le")])
def test_other_containers_are_not_read(container, codec):
    form = "s16" if codec.startswith("pcm") else "fltp"
    assert code_of(encode(sound(2.0, 44100), 44100, Kind(container, codec, form))) == "undecodable"


def sentence_about(data: bytes) -> str:
    with pytest.raises(AudioError) as caught:
        facts(data)
    return str(caught.value)


def test_another_format_is_to_be_converted():
    yamaha = encode(sound(2.0, 44100), 44100, Kind("wav", "adpcm_yamaha", "s16"))  # a codec that is not read
    other = encode(sound(2.0, 44100), 44100, Kind("avi", "libmp3lame", "fltp"))
    for data in (yamaha, other, b"MThd\0\0\0\6\0\1\0\2\0\x60MTrk" + bytes(200), b"words " * 99):
        assert "ffmpeg -i" in sentence_about(data)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_cut_is_not_to_be_converted(kind):
    with pytest.raises(AudioError) as caught:
        facts(file(kind)[:24])
    assert "ffmpeg -i" not in str(caught.value)


def test_an_empty_upload_and_a_film_without_sound_are_not_to_be_converted():
    assert "empty" in sentence_about(b"")
    film = io.BytesIO()
    with av.open(film, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for packet in [*stream.encode(av.VideoFrame(64, 64, "yuv420p")), *stream.encode(None)]:
            container.mux(packet)
    assert "audio stream" in sentence_about(film.getvalue())


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), name) + body


def quicktime(
    *, codec: bytes = b"sowt", count: int = 1000, reference: bytes = b"", chunks: int = 1, duration: int = 1
) -> bytes:
    """Return a QuickTime file of 16-bit samples with a declared number and duration of them."""
    entry = box(codec, bytes(6), struct.pack(">HHIHHHHI", 1, 0, 0, 0, 1, 16, 0, 44100 << 16 & 0xFFFFFFFF))
    tables = (
        box(b"stsd", bytes(4), struct.pack(">I", 1), entry),
        box(b"stts", bytes(4), struct.pack(">III", 1, count, duration)),
        box(b"stsz", bytes(4), struct.pack(">II", 2, count * chunks & 0xFFFFFFFF)),
        box(b"stsc", bytes(4), struct.pack(">IIII", 1, 1, count, 1)),
        box(b"stco", bytes(4), struct.pack(">I", chunks), struct.pack(">I", 2000) * chunks),
    )
    reference = reference or box(b"url ", struct.pack(">I", 1))
    media = box(
        b"mdia",
        box(b"mdhd", bytes(12), struct.pack(">III", 44100, count, 0)),
        box(b"hdlr", bytes(8), b"soun", bytes(13)),
        box(b"minf", box(b"dinf", box(b"dref", bytes(4), struct.pack(">I", 1), reference)), box(b"stbl", *tables)),
    )
    header = box(b"mvhd", bytes(12), struct.pack(">II", 1000, 1000), bytes(80))
    head = box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + box(b"moov", header, box(b"trak", media))
    return head.ljust(1992, b"\0") + box(b"mdat", np.full(2000, 16384, "<i2").tobytes())


def test_a_reference_to_another_file_is_not_followed(tmp_path):
    """An alias record, as QuickTime's "self-contained: no" writes it; FFmpeg would resolve it relative to the file."""
    np.testing.assert_array_equal(samples(quicktime())[:, 100:900], np.full((1, 800), 0.5))
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.full(2000, 8192, "<i2").tobytes())
    path = bytes(secret)
    alias = bytes(18) + struct.pack(">H", 0) + bytes(128)
    for kind in (2, 18):
        alias += struct.pack(">HH", kind, len(path)) + path + bytes(len(path) % 2)
    alias += struct.pack(">HH", 0xFFFF, 0)
    data = quicktime(reference=box(b"alis", bytes(4), alias))
    film = tmp_path / "film.mov"
    film.write_bytes(data)
    for source in (film, io.BytesIO(data)):
        try:
            y, _ = load(source)
        except AudioError:
            continue
        assert not np.any(y == 0.25)


@pytest.mark.parametrize("count", [40_000_000, 2**31 - 1, 2**32 - 1])
def test_the_declared_size_of_an_index_costs_no_memory(count):
    code = (
        "import io, resource, sys\n"
        "from genreflow.audio.properties import inspect\n"
        "from genreflow.errors import AudioError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: inspect(io.BytesIO(sys.stdin.buffer.read()), max_seconds=60)\n"
        "except AudioError: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    data = quicktime(codec=b"mp4a", count=count, duration=1024)
    # Linux counts what the process that starts another one has used as memory of the other: here, a small one.
    starter = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    command = [sys.executable, "-c", starter, sys.executable, "-c", code]
    run = subprocess.run(command, input=data, check=True, capture_output=True)
    assert int(run.stdout) < 150_000  # KiB on Linux; without a limit, the first takes 1 GB


def test_a_small_file_of_many_overlapping_parts_ends_at_the_limit():
    data = quicktime(chunks=40)
    assert facts(data).duration == pytest.approx(40 * 1000 / 44100, abs=0.1)
    assert code_of(data, max_seconds=0.5) == "too_long"


def test_an_error_of_the_file_system_is_raised():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 20_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

        def readinto(self, buffer):
            buffer[:] = data = self.read(len(buffer))
            return len(data)

    for data in (file("mp3", 4.0), file("flac", 4.0), file("aiff", 4.0)):
        with pytest.raises(OSError, match="Input/output error"):
            inspect(Broken(data))


def test_reading_is_in_constant_memory():
    """A reader holds a block at a time, also of a file that FFmpeg could read as one packet."""
    reader = FfmpegReader(InputFile(io.BytesIO(file("flac", 8.0, 2))), "x")
    sizes = []
    while (block := reader.read(5000).samples).shape[1]:
        sizes.append(block.shape[1])
    reader.close()
    assert sum(sizes) == 8 * 44100
    assert max(sizes) < 5000 + 5000


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("kind", sorted({*KINDS} - {"mka-aac"}))  # earlier versions keep the encoder delay of mka
def test_the_samples_are_those_of_the_ffmpeg_command(tmp_path, kind):
    path = tmp_path / "song"
    path.write_bytes(file(kind, 6.0, 2))
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    raw = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
    np.testing.assert_allclose(samples(path.read_bytes()), np.frombuffer(raw, "<f4").reshape(-1, 2).T, atol=1e-5)
