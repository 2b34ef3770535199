"""Numbers, axis ticks and names as text."""

import math
import textwrap
from collections.abc import Sequence

# Names of hyperparameters that need their section or a unit to be understood.
_LABELS = {"segments.seconds": "segment length [s]", "segments.coefficients": "MFCC coefficients"}


def format_number(value: float) -> str:
    """Format a number with four significant digits or a unit prefix: 0.815, 12.3, 2.4 M."""
    for least, scale, prefix in ((9.995e8, 1e9, " G"), (9.995e5, 1e6, " M"), (9.9995e3, 1e3, " k")):
        if abs(value) >= least:
            return f"{value / scale:.3g}{prefix}"
    return f"{value:.4g}"


def format_numbers(values: Sequence[float]) -> list[str]:
    """Format numbers like `format_number`, with more digits if two of them would otherwise be formatted the same."""
    texts = [format_number(value) for value in values]
    return texts if len(set(texts)) == len(texts) else [f"{value:.10g}" for value in values]


def axis_ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Return round numbers between `low` and `high`, or these two if there are fewer than two.

    Parameters
    ----------
    low, high : float
        Both > 0 on a logarithmic axis.
    log : bool
        Whether the axis is logarithmic.
    """
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        decades = [10.0**power for power in powers if low <= 10.0**power <= high]
        half_decades = [step for power in powers for step in (10.0**power, 3 * 10.0**power) if low <= step <= high]
        ticks = decades if len(decades) > 2 else half_decades
    else:
        span = (high - low) / 4 or 1.0
        unit = 10.0 ** math.floor(math.log10(span))
        step = min((digit * unit for digit in (1, 2, 5, 10)), key=lambda step: abs(step - span))
        ticks = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return ticks if len(ticks) > 1 else sorted({low, high})


def wrap(text: str) -> str:
    """Break `text` into HTML lines that fit above one of the parallel axes."""
    return "<br>".join(textwrap.wrap(text, 15))


def label(name: str) -> str:
    """Return the label of a hyperparameter: ``train.batch_size`` is the "batch size"."""
    return _LABELS.get(name) or name.removeprefix("train.").replace("_", " ").replace(".", " ")
