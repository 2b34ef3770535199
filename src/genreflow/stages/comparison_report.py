"""The page of `genreflow registry compare --html`; not a stage itself."""

from pathlib import Path

from genreflow.params import load_params
from genreflow.registry.comparison import Comparison
from genreflow.reporting.comparison.comparison_page import write_comparison_page
from genreflow.stages import RAW
from genreflow.stages.inputs import Data


def write_report(path: Path, comparison: Comparison) -> None:
    """Write the page of a comparison on the tracks of the project."""
    data = Data.load()
    write_comparison_page(path, comparison, data.manifest, load_params().report, data.store, RAW)
