"""Spectrograms and histograms for the audit's page, as SVG in the page's colours.

A spectrogram is a small JPEG in an SVG whose axes are text: 7 kB, and sharp at any size.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from genreflow.features.spec import FeatureSpec

# Lengths are in units of the picture, which are pixels at its natural size.
_WIDTH, _LEFT, _RIGHT, _ROW, _LABEL, _AXIS = 360, 30, 10, 84, 18, 18
_MAX_LABEL = 48  # characters; of a longer label the end is kept, where names differ
_COLUMNS, _BANDS = 320, 64
_JPEG_QUALITY = 60
_FREQUENCIES = ((250, "250"), (1000, "1k"), (4000, "4k"), (10000, "10k"))
_TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600)
# Every 17th colour of matplotlib's magma (CC0); linear interpolation between them is within 2.3 of 255.
_MAGMA = bytes.fromhex(
    "000004 0b0924 20114b 3b0f70 57157e 721f81 8c2981 a8327d c43c75 de4968 f1605d fa7f5e fe9f6d febf84 fddea0 fcfdbf"
)
_PLOT_HEIGHT, _PLOT_TOP, _BINS = 170, 22, 40
# Histograms have a logarithmic count, which makes single outliers visible. A bar of one track starts below 1.
_LOWEST_COUNT = 0.7


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


def spectrogram(strips: Sequence[Strip], spectrograms: Spectrograms) -> str:
    """Draw spectrograms below each other with a shared time axis.

    Parameters
    ----------
    strips : sequence of Strip
        At least one; `spectrograms` has all of them.
    spectrograms : Spectrograms

    Returns
    -------
    svg : str
        Time in seconds to the right, frequency in Hz upwards on the mel scale.
    """
    spec = spectrograms.spec
    frames = [np.concatenate(spectrograms.pieces(strip.key)) for strip in strips]
    spans = [(strip.start, strip.start + spec.seconds(len(part))) for strip, part in zip(strips, frames, strict=True)]
    begin, end = min(start for start, _ in spans), max(stop for _, stop in spans)
    scale = (_WIDTH - _LEFT - _RIGHT) / (end - begin)
    height = len(strips) * (_LABEL + _ROW) + _AXIS
    elements = []
    for number, (strip, part, (start, stop)) in enumerate(zip(strips, frames, spans, strict=True)):
        top = number * (_LABEL + _ROW) + _LABEL
        label = strip.label if len(strip.label) <= _MAX_LABEL else f"…{strip.label[1 - _MAX_LABEL :]}"
        elements.append(_text(_LEFT, top - 5, label, "start", css="name"))
        elements.append(
            f'<rect class="background" x="{_LEFT}" y="{top}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_ROW}"/>'
            f'<image x="{_LEFT + (start - begin) * scale:.1f}" y="{top}" width="{(stop - start) * scale:.1f}" '
            f'height="{_ROW}" preserveAspectRatio="none" href="{_jpeg(part)}"/>'
        )
        elements += _frequency_axis(spec, top)
    elements += _time_axis(begin, end, scale, height - _AXIS)
    return _svg(elements, height)


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
            ticks.append(f'<path d="M{_LEFT - 3} {y:.1f}h3"/>' + _text(_LEFT - 5, y + 3.5, name, "end"))
    return [*ticks, _text(_LEFT - 5, top - 5, "Hz", "end")]


def _time_axis(begin: float, end: float, scale: float, top: float) -> list[str]:
    ticks = []
    values = _round_values(begin, end, most=6, steps=_TIME_STEPS)
    for value in values:
        x = _LEFT + (value - begin) * scale
        label = f"{value:g}" + (" s" if value == values[-1] else "")
        ticks.append(f'<path d="M{x:.1f} {top}v3"/>' + _text(x, top + 14, label, "middle"))
    return ticks


def histogram(values: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """Draw the distribution of one or two quantities over the tracks, with a logarithmic count.

    Parameters
    ----------
    values : mapping of str to sequence of float
        One or two quantities by name; both have values.
    unit : str
        Label of the horizontal axis.

    Returns
    -------
    svg : str
    """
    edges = np.histogram_bin_edges(np.concatenate([np.asarray(quantity) for quantity in values.values()]), _BINS)
    counts = {name: np.histogram(quantity, edges)[0] for name, quantity in values.items()}
    bottom, right = _PLOT_HEIGHT - 2 * _AXIS, _WIDTH - _RIGHT
    decades = math.log10(max(count.max() for count in counts.values()) * 1.1 / _LOWEST_COUNT)

    def x(value: float) -> float:
        return _LEFT + (right - _LEFT) * (value - edges[0]) / (edges[-1] - edges[0])

    def y(count: float) -> float:
        return bottom - (bottom - _PLOT_TOP) * math.log10(count / _LOWEST_COUNT) / decades

    elements = [f'<path class="axis" d="M{_LEFT} {_PLOT_TOP}V{bottom}H{right}"/>', _text(_LEFT, 12, "tracks", "start")]
    for power in range(math.floor(decades + math.log10(_LOWEST_COUNT)) + 1):
        height = y(10**power)
        elements.append(
            f'<path d="M{_LEFT - 3} {height:.1f}h3"/>' + _text(_LEFT - 5, height + 3.5, f"{10**power}", "end")
        )
    for series, count in enumerate(counts.values()):
        bars = "".join(
            f"M{x(left):.1f} {bottom}V{y(n):.1f}H{x(end):.1f}V{bottom}"
            for n, left, end in zip(count, edges[:-1], edges[1:], strict=True)
            if n
        )
        elements.append(f'<path class="series{series}" d="{bars}"/>')
    for value in _round_values(edges[0], edges[-1], most=8):
        elements.append(
            f'<path d="M{x(value):.1f} {bottom}v3"/>' + _text(x(value), bottom + 14, f"{value:g}", "middle")
        )
    elements.append(_text((_LEFT + right) / 2, _PLOT_HEIGHT - 4, unit, "middle"))
    if len(counts) > 1:
        for series, name in enumerate(counts):
            left = right - 90 + 45 * series
            elements.append(f'<rect class="series{series}" x="{left}" y="4" width="9" height="9"/>')
            elements.append(_text(left + 13, 12, name, "start"))
    return _svg(elements, _PLOT_HEIGHT)


def _round_values(low: float, high: float, *, most: int, steps: Sequence[float] = ()) -> list[float]:
    """Return at most about `most` multiples of a round number between `low` and `high`.

    Parameters
    ----------
    low, high : float
        low < high.
    most : int > 0
    steps : sequence of float, optional
        The round numbers, in ascending order; by default 1, 2 and 5 times the powers of ten.
    """
    span = high - low
    unit = 10.0 ** math.floor(math.log10(span / most))
    steps = steps or [digit * unit for digit in (1, 2, 5, 10)]
    step = next((step for step in steps if span / step <= most), span)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _svg(elements: Sequence[str], height: float) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" xmlns="http://www.w3.org/2000/svg">{"".join(elements)}</svg>'


def _text(x: float, y: float, text: str, anchor: str, css: str = "tick") -> str:
    from markupsafe import escape

    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
