"""The decoder against libsndfile and the ffmpeg command, side by side on one core: `python benchmarks/bench_decode.py`.

Demo music (44.1 kHz, stereo, 30 s) is encoded by ffmpeg. For each format, the table has the median processor time of
one decoding to float32, that of libsndfile (in one read of the whole file, where it reads the format) and the ratio;
how many of the 30 s libsndfile reads; the peak memory of a process that decodes five minutes block by block with
either; and the samples that differ from those of ffmpeg by more than 1e-5, the largest difference, and the difference
in length. Times depend on the machine, the ratios hardly.
"""

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from genreflow.audio.blocks import READ_SAMPLES
from genreflow.audio.readers import open_reader
from genreflow.datasets.demo.artists import artists_of
from genreflow.datasets.demo.genres import GENRES
from genreflow.datasets.demo.record import track
from genreflow.datasets.demo.settings import Settings
from genreflow.datasets.demo.voices import SAMPLE_RATE

RATE, SECONDS, LONG_SECONDS, TOLERANCE = 44100, 30, 300, 1e-5
# suffix and options of ffmpeg
KINDS = {
    "wav": ("wav", ""),
    "flac": ("flac", ""),
    "mp3, CBR 128": ("mp3", "-b:a 128k"),
    "mp3, CBR 320 joint": ("mp3", "-b:a 320k -joint_stereo 1"),
    "mp3, VBR V2": ("mp3", "-q:a 2"),
    "mp3, VBR V6": ("mp3", "-q:a 6"),
    "mp3, VBR without Xing": ("mp3", "-q:a 4 -write_xing 0"),
    "m4a, AAC 128": ("m4a", "-c:a aac -b:a 128k"),
    "m4a, AAC 64 mono": ("m4a", "-c:a aac -b:a 64k -ac 1"),
    "m4a, ALAC": ("m4a", "-c:a alac"),
    "aac (ADTS)": ("aac", "-b:a 128k"),
    "ogg, Vorbis": ("ogg", "-c:a libvorbis -q:a 4"),
    "ogg, FLAC": ("ogg", "-c:a flac"),
    "opus": ("opus", "-c:a libopus -b:a 96k -ar 48000"),
    "webm, Opus": ("webm", "-c:a libopus -b:a 96k -ar 48000"),
    "wma": ("wma", "-c:a wmav2 -b:a 128k"),
    "wavpack": ("wv", ""),
}


# What is run with the path of a file by `peak_memory`.
OURS = """
import sys
from genreflow.audio.readers import open_reader
with open_reader(sys.argv[1]) as reader:
    while reader.read(65536 // reader.channels).samples.shape[1]:
        pass
"""
LIBSNDFILE = """
import sys
import soundfile
with soundfile.SoundFile(sys.argv[1]) as file:
    while len(file.read(65536 // file.channels, dtype="float32")):
        pass
"""
# Linux: the peak that `resource` has includes that of the parent process.
PEAK = """
[line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(line.split()[1]) / 1024)
"""


def music(seconds: int) -> np.ndarray:
    """Return demo music [shape=(n, 2)]: one genre on the left, another one on the right, and both in the middle."""
    settings, tracks, length = Settings(), [], 0
    for genre in GENRES.values():
        y = track(artists_of(genre, settings)[0], 1, settings)
        tracks.append(soxr.resample(y, SAMPLE_RATE, RATE))
        length += len(y) * RATE // SAMPLE_RATE
        if length > 3 * seconds * RATE:
            break
    whole = np.concatenate(tracks)
    left, middle, right = (np.resize(np.roll(whole, -number * seconds * RATE), seconds * RATE) for number in range(3))
    return np.stack([left + middle, right + middle], axis=1) / 2.2


def encode(wav: Path, folder: Path) -> dict[str, Path]:
    files = {}
    for number, (name, (suffix, options)) in enumerate(KINDS.items()):
        files[name] = folder / f"{wav.stem}-{number}.{suffix}"
        command = ["ffmpeg", "-y", "-v", "error", "-i", wav, *options.split(), files[name]]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return files


def decode(data: bytes) -> np.ndarray:
    """Return float32 [shape=(channels, n)]."""
    blocks = []
    with open_reader(io.BytesIO(data)) as reader:
        while (block := reader.read(READ_SAMPLES // reader.channels).samples).shape[1]:
            blocks.append(block)
    return np.concatenate(blocks, axis=1)


def read_whole(data: bytes) -> np.ndarray:
    with sf.SoundFile(io.BytesIO(data)) as file:
        return file.read(dtype="float32", always_2d=True)


def differing(data: bytes, path: Path) -> tuple[int, int, float]:
    """Return how many samples differ from ffmpeg's, and in how many of them the lengths differ."""
    ours = decode(data)
    command = ["ffmpeg", "-v", "quiet", "-i", path, "-map", "0:a:0", "-f", "f32le", "-c:a", "pcm_f32le", "-"]
    raw = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
    theirs = np.frombuffer(raw, np.float32).reshape(-1, len(ours)).T
    length = min(ours.shape[1], theirs.shape[1])
    errors = np.abs(ours[:, :length] - theirs[:, :length])
    return int((errors > TOLERANCE).sum()), ours.shape[1] - theirs.shape[1], float(errors.max())


def milliseconds(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median processor times of works, which alternate."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, took in zip(works, times, strict=True):
            begin = time.thread_time()
            work()
            took.append(1000 * (time.thread_time() - begin))
    return [statistics.median(took) for took in times]


def peak_memory(code: str, path: Path) -> float:
    """Return the peak memory of a process that runs code with a path [MiB]."""
    command = [sys.executable, "-c", code + PEAK, str(path)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        short, long = Path(directory, "short.wav"), Path(directory, "long.wav")
        y = music(SECONDS)
        sf.write(short, y, RATE)
        sf.write(long, np.tile(y, (LONG_SECONDS // SECONDS, 1)), RATE)
        files, long_files = encode(short, Path(directory)), encode(long, Path(directory))
        print(f"{SECONDS} s, {RATE} Hz, stereo; memory: {LONG_SECONDS} s; ours / libsndfile\n")
        print(f"{'':22}{'ms':>14}{'ratio':>7}{'reads':>8}{'MiB':>10}{'differ':>8}{'of':>9}{'largest':>9}{'length':>8}")
        for name, path in files.items():
            row(name, path, long_files[name], options.repeats)


def row(name: str, path: Path, long_path: Path, repeats: int) -> None:
    """Measure one format and print its line."""
    data = path.read_bytes()
    works: list[Callable[[], object]] = [lambda: decode(data)]
    seconds = None
    with contextlib.suppress(sf.SoundFileError):
        seconds = len(read_whole(data)) / sf.info(io.BytesIO(data)).samplerate
        works.append(lambda: read_whole(data))
    times = milliseconds(works, repeats)
    memory = [peak_memory(OURS, long_path), *([peak_memory(LIBSNDFILE, long_path)] if seconds else [])]
    count, longer, largest = differing(data, path)
    ratio = f"{times[0] / times[1]:.2f}" if seconds else "-"
    both = [
        " / ".join([f"{value:.{digits}f}" for value in pair] + ["-"] * (2 - len(pair)))
        for pair, digits in ((times, 1), (memory, 0))
    ]
    reads = f"{seconds:.1f} s" if seconds else "-"
    print(
        f"{name:22}{both[0]:>14}{ratio:>7}{reads:>8}{both[1]:>10}{count:8}{decode(data).size:9}{largest:9.0e}{longer:8}",
        flush=True,
    )


if __name__ == "__main__":
    main()
