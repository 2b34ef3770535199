"""Source -> data/raw and the manifest."""

import logging

from genreflow.datasets.sources import ingest
from genreflow.file_names import one_line
from genreflow.params import load_params
from genreflow.stages import CORRECTIONS, MANIFEST, RAW
from genreflow.stages.dvc_cache import remade

logger = logging.getLogger(__name__)


def main() -> None:
    data = load_params().data
    with remade(MANIFEST):
        manifest = ingest(data, RAW, MANIFEST, corrections=CORRECTIONS)
    logger.info(f"{len(manifest.tracks)} tracks of {len(manifest.genres)} genres from {data.source}: {data.path}")
    for note in manifest.notes:
        logger.info(f"note: {one_line(note)}")
