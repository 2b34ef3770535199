"""The Free Music Archive dataset: its clips, and what its tables say of them.

M. Defferrard, K. Benzi, P. Vandergheynst and X. Bresson, "FMA: A Dataset For Music Analysis", ISMIR 2017,
arXiv:1612.01840; addresses, sizes and checksums as in the README of https://github.com/mdeff/fma.

It is known to hold clips that are shorter than 30 s or hold no sound at all (six of the 8,000 small ones; issues 8 and
41 there): the audit reports them.
"""

from genreflow.datasets.fma.archives import SUBSETS
from genreflow.datasets.fma.source import fma

__all__ = ["SUBSETS", "fma"]
