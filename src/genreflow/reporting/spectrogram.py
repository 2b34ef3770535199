"""Spectrograms as SVG: a small JPEG with axes of text, 7 kB and sharp at any size."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from genreflow.features.spec import FeatureSpec
from genreflow.reporting.svg import AXIS, LEFT, RIGHT, WIDTH, round_values, svg, text

_ROW, _LABEL = 84, 18
_LONGER = 5  # pictures that are longer than this many times their shortest spectrogram show a part
_MAX_LABEL = 48  # characters; of a longer label the end is kept, where names differ
_COLUMNS, _BANDS = 320, 64
_JPEG_QUALITY = 60
_FREQUENCIES = ((250, "250"), (1000, "1k"), (4000, "4k"), (10000, "10k"))
_TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600)
# Every 17th colour of matplotlib's magma (CC0); linear interpolation between them is within 2.3 of 255.
_MAGMA = bytes.fromhex(
    "000004 0b0924 20114b 3b0f70 57157e 721f81 8c2981 a8327d c43c75 de4968 f1605d fa7f5e fe9f6d febf84 fddea0 fcfdbf"
)


class Spectrograms(Protocol):
    """Log-mel spectrograms by key, such as a `genreflow.features.store.FeatureStore`."""

    @property
    def spec(self) -> FeatureSpec: ...

    def __contains__(self, key: str) -> bool: ...

    def pieces(self, key: str) -> Sequence[np.ndarray]:
        """Return the parts of a track in time order, each [shape=(n, n_mels), dtype=uint8]."""
        ...


@dataclass(frozen=True)
class Strip:
    """One spectrogram of a picture.

    Parameters
    ----------
    key : str
        Of the track.
    label : str
    start : float [s]
        Where it begins on the picture's time axis.
    """

    key: str
    label: str
    start: float = 0.0


def draw_spectrograms(strips: Sequence[Strip], spectrograms: Spectrograms) -> str:
    """Draw spectrograms below each other with a shared time axis.

    Parameters
    ----------
    strips : sequence of Strip
        At least one; `spectrograms` has all of them.
    spectrograms : Spectrograms

    Returns
    -------
    svg : str
        Time in seconds to the right, frequency in Hz upwards on the mel scale. Of tracks that are much longer than the
        shortest one, only what is around it.
    """
    spec = spectrograms.spec
    frames = [np.concatenate(spectrograms.pieces(strip.key)) for strip in strips]
    spans = [(strip.start, strip.start + spec.seconds(len(part))) for strip, part in zip(strips, frames, strict=True)]
    begin, end = _visible(spans)
    frames = [_crop(part, span, begin, end) for part, span in zip(frames, spans, strict=True)]
    spans = [(max(start, begin), min(stop, end)) for start, stop in spans]
    scale = (WIDTH - LEFT - RIGHT) / (end - begin)
    height = len(strips) * (_LABEL + _ROW) + AXIS
    elements = []
    for number, (strip, part, (start, stop)) in enumerate(zip(strips, frames, spans, strict=True)):
        top = number * (_LABEL + _ROW) + _LABEL
        label = strip.label if len(strip.label) <= _MAX_LABEL else f"…{strip.label[1 - _MAX_LABEL :]}"
        elements.append(text(LEFT, top - 5, label, "start", css="name"))
        elements.append(
            f'<rect class="background" x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{_ROW}"/>'
            f'<image x="{LEFT + (start - begin) * scale:.1f}" y="{top}" width="{(stop - start) * scale:.1f}" '
            f'height="{_ROW}" preserveAspectRatio="none" href="{_jpeg(part)}"/>'
        )
        elements += _frequency_axis(spec, top)
    elements += _time_axis(begin, end, scale, height - AXIS)
    return svg(elements, height)


def _visible(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the time range to draw [s]: all of it, or an excerpt of a long track with its surroundings."""
    begin, end = min(start for start, _ in spans), max(stop for _, stop in spans)
    shortest = min(stop - start for start, stop in spans)
    overlap = max(start for start, _ in spans), min(stop for _, stop in spans)
    if end - begin <= _LONGER * shortest or overlap[0] >= overlap[1]:
        return begin, end
    margin = (_LONGER - 1) / 2 * shortest
    return max(begin, overlap[0] - margin), min(end, overlap[1] + margin)


def _crop(frames: np.ndarray, span: tuple[float, float], begin: float, end: float) -> np.ndarray:
    """Return the frames [shape=(n, n_mels)] of a span of time [s] that lie between `begin` and `end`."""
    rate = len(frames) / (span[1] - span[0])
    return frames[max(0, math.floor((begin - span[0]) * rate)) : math.ceil((end - span[0]) * rate)]


def _jpeg(frames: np.ndarray) -> str:
    """Return frames [shape=(n, n_mels), dtype=uint8] as a data URI of a JPEG, the lowest band at the bottom."""
    from PIL import Image

    cells = _downsample(_downsample(frames, _COLUMNS).T, _BANDS)[::-1]
    file = io.BytesIO()
    Image.fromarray(_colours()[cells]).save(file, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _downsample(rows: np.ndarray, n: int) -> np.ndarray:
    """Average adjacent rows so that at most `n` remain."""
    if len(rows) <= n:
        return rows
    edges = np.linspace(0, len(rows), n, endpoint=False).astype(int)
    sums = np.add.reduceat(rows, edges, axis=0, dtype=np.uint32)
    return (sums / np.diff(edges, append=len(rows))[:, None]).astype(np.uint8)


@cache
def _colours() -> np.ndarray:
    """Return the magma colour map [shape=(256, 3), dtype=uint8]."""
    anchors = np.frombuffer(_MAGMA, np.uint8).reshape(-1, 3)
    levels, positions = np.arange(256), np.linspace(0, 255, len(anchors))
    return np.stack([np.interp(levels, positions, channel) for channel in anchors.T], axis=1).round().astype(np.uint8)


def _frequency_axis(spec: FeatureSpec, top: float) -> list[str]:
    from librosa import mel_frequencies

    centres = mel_frequencies(n_mels=spec.n_mels + 2, fmin=spec.fmin, fmax=spec.fmax)[1:-1]
    ticks = []
    for frequency, name in _FREQUENCIES:
        if centres[0] <= frequency <= centres[-1]:
            band = np.interp(frequency, centres, np.arange(spec.n_mels)) + 0.5
            y = top + _ROW * (1 - band / spec.n_mels)
            ticks.append(f'<path d="M{LEFT - 3} {y:.1f}h3"/>' + text(LEFT - 5, y + 3.5, name, "end"))
    return [*ticks, text(LEFT - 5, top - 5, "Hz", "end")]


def _time_axis(begin: float, end: float, scale: float, top: float) -> list[str]:
    ticks = []
    values = round_values(begin, end, most=6, steps=_TIME_STEPS)
    for value in values:
        x = LEFT + (value - begin) * scale
        label = f"{value:g}" + (" s" if value == values[-1] else "")
        ticks.append(f'<path d="M{x:.1f} {top}v3"/>' + text(x, top + 14, label, "middle"))
    return ticks
