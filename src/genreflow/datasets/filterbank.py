"""Filter bank and window of a feature spec; the only module that computes with librosa."""

from pathlib import Path

import numpy as np

from genreflow.features.spec import FeatureSpec, FilterBank
from genreflow.files import DAMAGED_NPZ


def make_filter_bank(spec: FeatureSpec) -> FilterBank:
    """Compute the mel filter bank and the periodic Hann window of a spec.

    Parameters
    ----------
    spec : FeatureSpec

    Returns
    -------
    FilterBank
        As returned by ``librosa.filters.mel`` (Slaney mel scale and area normalisation) and
        ``librosa.filters.get_window``.
    """
    import librosa.filters as filters  # takes four seconds and 0.3 GB, needed only here

    mel = filters.mel(sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.fmin, fmax=spec.fmax)
    window = filters.get_window("hann", spec.n_fft, fftbins=True)
    return FilterBank(mel=mel.astype(np.float32), window=window.astype(np.float32))


def load_or_make_filter_bank(spec: FeatureSpec, path: Path) -> FilterBank:
    """Return the filter bank of a spec from a file that `FilterBank.save` wrote, or compute it.

    Parameters
    ----------
    spec : FeatureSpec
    path : Path
        Ignored if it does not exist, is damaged, or belongs to another spec.
    """
    try:
        with np.load(path) as arrays:
            if str(arrays["key"]) == spec.key:
                return FilterBank(mel=arrays["mel"], window=arrays["window"])
    except DAMAGED_NPZ:
        pass
    return make_filter_bank(spec)
