"""The filter bank and window of a feature spec, computed by librosa: the only place that computes with it."""

import zipfile
from pathlib import Path

import numpy as np

from genreflow.features.spec import FeatureSpec, FilterBank


def make_filter_bank(spec: FeatureSpec) -> FilterBank:
    """Compute what a spec stands for: a Slaney-style mel filter bank and a periodic Hann window.

    Parameters
    ----------
    spec : FeatureSpec

    Returns
    -------
    FilterBank
        As ``librosa.filters.mel`` (Slaney's mel scale and area normalisation) and ``librosa.filters.get_window`` give.
    """
    import librosa  # four seconds and 0.3 GB, for this function alone

    mel = librosa.filters.mel(sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.fmin, fmax=spec.fmax)
    window = librosa.filters.get_window("hann", spec.n_fft, fftbins=True)
    return FilterBank(mel=mel.astype(np.float32), window=window.astype(np.float32))


def filter_bank(spec: FeatureSpec, kept: Path) -> FilterBank:
    """Return the filter bank of a spec: the one that `FilterBank.save` wrote with this spec to `kept`, or a new one."""
    try:
        with np.load(kept) as arrays:
            if str(arrays["key"]) == spec.key:
                return FilterBank(mel=arrays["mel"], window=arrays["window"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        pass  # none is there, or half of one
    return make_filter_bank(spec)
