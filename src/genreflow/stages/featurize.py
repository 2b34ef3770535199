"""data/raw -> the feature store; only tracks that it does not hold yet are computed."""

import dataclasses
from functools import partial

from genreflow.datasets.audit import Audit
from genreflow.datasets.filterbank import make_filter_bank
from genreflow.datasets.manifest import Manifest
from genreflow.datasets.spectrograms import spectrogram_pieces
from genreflow.errors import GenreflowError
from genreflow.features.logmel import logmel_pieces
from genreflow.features.store import update
from genreflow.params import load_params
from genreflow.stages import AUDIT, FEATURES, FILTERS, MANIFEST, RAW, run_stage, say


def main() -> None:
    spec = load_params().features
    manifest = Manifest.load(MANIFEST)
    left_out = Audit.load(AUDIT).left_out
    tracks = [track for track in manifest.tracks if track.id not in left_out]
    spec = dataclasses.replace(spec, **manifest.spec_hints)
    bank = make_filter_bank(spec)
    if manifest.source == "spectrograms":
        items, compute = [(track.hash, track) for track in tracks], partial(spectrogram_pieces, raw_dir=RAW)
    else:
        items, compute = (
            [(track.hash, RAW / track.path) for track in tracks],
            partial(logmel_pieces, spec=spec, bank=bank),
        )
    report = update(FEATURES, spec, items, compute)
    bank.save(FEATURES / FILTERS)
    for message in report.failed.values():
        say(f"left out: {message}")
    if len(report.failed) == len(tracks):
        raise GenreflowError("No track has features; the lines above say why.")
    say(f"{report.computed} tracks computed, {report.reused} kept, {report.dropped} forgotten")


if __name__ == "__main__":
    run_stage(main)
