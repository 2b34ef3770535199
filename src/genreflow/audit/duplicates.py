"""Near-duplicates: the same recording at another level, offset, codec or slightly other speed."""

import os
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from genreflow.audit.alignment import align
from genreflow.audit.candidates import find_candidates
from genreflow.audit.fingerprint import VERSION, Fingerprint, fingerprint, texture
from genreflow.features.store import FeatureStore
from genreflow.manifest.track import Track

# Copies of 60 real tracks (1 % other speed, 0.7 s off and mp3 of 64 kbit/s at once) have 0.86 or more, 0.69 where only
# 12.9 frames a second were imported; different real tracks have 0.09 or less, but two synthetic ones by one artist,
# with the same drums, 0.56.
MIN_SIMILARITY = 0.6
# Copies of one recording up to which each pair is reported. Among more, a pair that others connect already is passed
# over: a thousand copies have half a million pairs.
_MANY = 8


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """Two tracks that are the same recording, or parts of one.

    What is heard at t seconds of `first` is heard at ``offset + t / speed`` seconds of `second`.

    Parameters
    ----------
    first, second : str
        Their ids, ``first < second``.
    similarity : float [0 to 1]
        Correlation of the two where they overlap.
    offset : float [s]
        How much later the music begins in `second`; negative where its beginning was cut off.
    speed : float > 0
        1.01 where `second` is 1 % faster.
    """

    first: str
    second: str
    similarity: float
    offset: float
    speed: float


def near_duplicates(
    tracks: Sequence[Track], store: FeatureStore, *, cache: Path | None = None, progress: bool = True
) -> list[NearDuplicate]:
    """Find the pairs of tracks that are the same recording, though not bit by bit.

    Parameters
    ----------
    tracks : sequence of Track
        Of those that share a hash, exact duplicates, the one with the first id stands for all. Tracks that the store
        does not hold are passed over.
    store : FeatureStore
    cache : Path or None
        File that keeps the fingerprints, so that ten tracks added to a thousand cost ten.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of NearDuplicate
        Sorted by ids; of a recording that is there very often, enough pairs to connect all copies. Tracks overlap by
        `alignment.MIN_OVERLAP` or more, and are compared over all of their overlap: a whole song inside a long mix is
        found, a short sample inside a song is not.
    """
    id_of: dict[str, str] = {}
    for track in sorted(tracks, key=lambda track: track.id):
        if track.hash is not None and track.hash in store:
            id_of.setdefault(track.hash, track.id)
    keys = list(id_of)
    prints = _fingerprints(keys, store, cache, progress)

    @lru_cache(maxsize=8)  # the candidates of a track come one after the other; one of three hours takes 58 MB
    def texture_of(position: int) -> tuple[np.ndarray, float]:
        return texture(_frames(store, keys[position]), store.spec.frame_rate)

    found = []
    together: dict[int, set[int]] = {}  # who is known to be one recording, directly or through others
    for first, second, time, shift in find_candidates(prints):
        if second in together.get(first, ()) and len(together[first]) > _MANY:
            continue
        (there, rate), (here, _) = texture_of(first), texture_of(second)
        alignment = align(there, here, rate, time=time, shift=shift)
        if alignment and alignment.similarity >= MIN_SIMILARITY:
            found.append(NearDuplicate(first=id_of[keys[first]], second=id_of[keys[second]], **alignment._asdict()))
            joined = together.get(first, {first}) | together.get(second, {second})
            together |= dict.fromkeys(joined, joined)
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def _frames(store: FeatureStore, key: str) -> np.ndarray:
    pieces = store.pieces(key)
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _fingerprints(keys: list[str], store: FeatureStore, cache: Path | None, progress: bool) -> list[Fingerprint]:
    made_by = f"{VERSION} {store.spec.key}"
    known = _read(cache, made_by) if cache else {}
    prints = {key: known[key] for key in keys if key in known}
    new = [key for key in keys if key not in known]
    for key in tqdm(new, desc="fingerprints", unit="track", disable=not progress):
        prints[key] = fingerprint(_frames(store, key), store.spec.frame_rate)
    if cache and prints.keys() != known.keys():
        _write(cache, made_by, prints)
    return [prints[key] for key in keys]


def _read(cache: Path, made_by: str) -> dict[str, Fingerprint]:
    """Return the fingerprints in a file; none if it is not there, not whole, or of another spec or version."""
    try:
        with np.load(cache, allow_pickle=False) as arrays:
            if arrays["made_by"] != made_by:
                return {}
            hashes, times, ends = arrays["hashes"], arrays["times"], arrays["ends"]
            keys = arrays["keys"].tolist()
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}
    begins = [0, *ends[:-1]]
    return {
        key: Fingerprint(hashes[begin:end], times[begin:end])
        for key, begin, end in zip(keys, begins, ends, strict=True)
    }


def _write(cache: Path, made_by: str, prints: dict[str, Fingerprint]) -> None:
    """Write the fingerprints whole or not at all."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=cache.parent, prefix=f".{cache.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(
                file,
                made_by=made_by,
                keys=np.array(list(prints), dtype=str),
                ends=np.cumsum([len(print_.hashes) for print_ in prints.values()]),
                hashes=np.concatenate([print_.hashes for print_ in prints.values()]),
                times=np.concatenate([print_.times for print_ in prints.values()]),
            )
        os.replace(temporary, cache)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
