"""The Free Music Archive dataset (FMA): clips of 30 s, or full tracks, with genres, artists and a published split.

Citation
    M. Defferrard, K. Benzi, P. Vandergheynst and X. Bresson, "FMA: A Dataset For Music Analysis", ISMIR 2017,
    arXiv:1612.01840.
Licence
    Metadata: CC BY 4.0. Audio: the licence that each artist chose. For research.
Checksums, sizes and URLs
    `genreflow.datasets.fma.archives`, from the README of https://github.com/mdeff/fma.
Known faults
    Some clips are shorter than 30 s or silent (six of the 8,000 small ones; issues 8 and 41 of that repository). The
    audit reports them.
"""

from genreflow.datasets.fma.archives import SUBSETS
from genreflow.datasets.fma.source import fma

__all__ = ["SUBSETS", "fma"]
