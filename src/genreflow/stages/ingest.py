"""source -> data/raw and the manifest."""

from genreflow.datasets.sources import ingest
from genreflow.params import load_params
from genreflow.stages import MANIFEST, RAW, run_stage, say


def main() -> None:
    data = load_params().data
    manifest = ingest(
        data.source,
        data.path,
        RAW,
        MANIFEST,
        genres=list(data.genres) or None,
        tracks_csv=data.tracks,
        subset=data.subset,
        components=data.sources,
    )
    say(f"{len(manifest.tracks)} tracks of {len(manifest.genres)} genres from {data.source}: {data.path}")
    for note in manifest.notes:
        say(f"note: {note}")


if __name__ == "__main__":
    run_stage(main)
