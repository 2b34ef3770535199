"""Spectrogram pictures and histograms for the audit's page, as SVG that takes on the page's colours.

The spectrogram itself is a small JPEG within the SVG and its axes are text: seven kilobytes, sharp at any size, where
librosa's ``specshow`` through matplotlib gives 75 and fixed colours. librosa places the mel ticks.
"""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from genreflow.features.spec import FeatureSpec
from genreflow.features.store import FeatureStore

# In units of the picture, which are pixels at its natural size.
_WIDTH, _LEFT, _RIGHT, _ROW, _LABEL, _AXIS = 360, 30, 10, 84, 18, 18
_LABEL_LENGTH = 48  # letters; the end of a name tells more
_COLUMNS, _BANDS = 320, 64
_JPEG_QUALITY = 60
_FREQUENCIES = ((250, "250"), (1000, "1k"), (4000, "4k"), (10000, "10k"))
_TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600)
_BAR, _LINE = "#5b7fd4", "#d4764a"


@dataclass(frozen=True)
class Strip:
    """One spectrogram of a picture.

    Parameters
    ----------
    key : str
        Of the track in the feature store.
    label : str
    start : float [s]
        Where it begins on the picture's time axis.
    """

    key: str
    label: str
    start: float = 0.0


def spectrogram(strips: Sequence[Strip], store: FeatureStore) -> str:
    """Draw spectrograms below each other, on one time axis.

    Parameters
    ----------
    strips : sequence of Strip
        At least one; all in the store.
    store : FeatureStore

    Returns
    -------
    svg : str
        Time to the right in seconds, frequency upwards in hertz on the mel scale.
    """
    frames = [np.concatenate(store.pieces(strip.key)) for strip in strips]
    spans = [(strip.start, strip.start + store.spec.seconds(len(of))) for strip, of in zip(strips, frames, strict=True)]
    begin, end = min(start for start, _ in spans), max(stop for _, stop in spans)
    scale = (_WIDTH - _LEFT - _RIGHT) / (end - begin)
    height = len(strips) * (_LABEL + _ROW) + _AXIS
    parts = []
    for number, (strip, of, (start, stop)) in enumerate(zip(strips, frames, spans, strict=True)):
        top = number * (_LABEL + _ROW) + _LABEL
        label = strip.label if len(strip.label) <= _LABEL_LENGTH else f"…{strip.label[1 - _LABEL_LENGTH :]}"
        parts.append(_text(_LEFT, top - 5, label, "start", css="name"))
        parts.append(
            f'<rect class="ground" x="{_LEFT}" y="{top}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_ROW}"/>'
            f'<image x="{_LEFT + (start - begin) * scale:.1f}" y="{top}" width="{(stop - start) * scale:.1f}" '
            f'height="{_ROW}" preserveAspectRatio="none" href="{_jpeg(of)}"/>'
        )
        parts += _frequency_axis(store.spec, top)
    parts += _time_axis(begin, end, scale, height - _AXIS)
    return f'<svg viewBox="0 0 {_WIDTH} {height}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'


def _jpeg(frames: np.ndarray) -> str:
    """Return frames [shape=(n, n_mels), dtype=uint8] as a data URI, the low band at the bottom."""
    from PIL import Image

    cells = _shrunk(_shrunk(frames, _COLUMNS).T, _BANDS)[::-1]
    file = io.BytesIO()
    Image.fromarray(_colours()[cells]).save(file, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _shrunk(rows: np.ndarray, most: int) -> np.ndarray:
    """Average neighbouring rows so that no more than `most` are left."""
    if len(rows) <= most:
        return rows
    edges = np.linspace(0, len(rows), most, endpoint=False).astype(int)
    sums = np.add.reduceat(rows, edges, axis=0, dtype=np.uint32)
    return (sums / np.diff(edges, append=len(rows))[:, None]).astype(np.uint8)


@cache
def _colours() -> np.ndarray:
    """Return the colour of each level [shape=(256, 3), dtype=uint8]: matplotlib's magma."""
    from matplotlib import colormaps

    return (colormaps["magma"](np.arange(256))[:, :3] * 255).astype(np.uint8)


def _frequency_axis(spec: FeatureSpec, top: float) -> list[str]:
    from librosa import mel_frequencies

    centres = mel_frequencies(spec.n_mels + 2, fmin=spec.fmin, fmax=spec.fmax)[1:-1]
    marks = []
    for hertz, name in _FREQUENCIES:
        if centres[0] <= hertz <= centres[-1]:
            band = np.interp(hertz, centres, np.arange(spec.n_mels)) + 0.5
            y = top + _ROW * (1 - band / spec.n_mels)
            marks.append(f'<path d="M{_LEFT - 3} {y:.1f}h3"/>' + _text(_LEFT - 5, y + 3.5, name, "end"))
    return [*marks, _text(_LEFT - 5, top - 5, "Hz", "end")]


def _time_axis(begin: float, end: float, scale: float, top: float) -> list[str]:
    step = next((step for step in _TIME_STEPS if (end - begin) / step <= 6), end - begin)
    marks = []
    numbers = range(math.ceil(begin / step), math.floor(end / step) + 1)
    for number in numbers:
        x = _LEFT + (number * step - begin) * scale
        label = f"{number * step:g}" + (" s" if number == numbers[-1] else "")
        marks.append(f'<path d="M{x:.1f} {top}v3"/>' + _text(x, top + 14, label, "middle"))
    return marks


def _text(x: float, y: float, words: str, anchor: str, css: str = "tick") -> str:
    from markupsafe import escape

    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def histogram(values: dict[str, Sequence[float]], *, unit: str, bins: int = 40) -> str:
    """Draw how the tracks are distributed, on a logarithmic count so that the few that stand apart are seen.

    Parameters
    ----------
    values : dict of str to sequence of float
        One or two quantities by name.
    unit : str
        Words below the axis.
    bins : int > 0

    Returns
    -------
    svg : str
        The same for the same values.
    """
    import matplotlib
    from matplotlib.figure import Figure

    settings = {"svg.hashsalt": "genreflow", "svg.fonttype": "none", "font.size": 8, "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(3.8, 2.1), layout="constrained")
        axes = figure.subplots()
        edges = np.histogram_bin_edges(np.concatenate([np.asarray(of) for of in values.values()]), bins)
        for (name, of), colour in zip(values.items(), (_BAR, _LINE), strict=False):
            axes.hist(of, edges, log=True, label=name, color=colour, alpha=0.8 if len(values) > 1 else 1)
        if len(values) > 1:
            axes.legend(frameon=False)
        axes.set(xlabel=unit, ylabel="tracks", ylim=(0.7, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        file = io.StringIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = file.getvalue()
    return text[text.index("<svg") :]
