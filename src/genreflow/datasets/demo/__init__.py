"""The built-in demo data: music composed and synthesised from a seed, free of copyright.

`genres` defines the genres as a table, and `artists` the artists of each genre. `score` writes the notes, with the help
of `harmony` and `rhythm`; `voices`, `drums` and `production` synthesise and mix them; `record` writes the tracks.
"""

from genreflow.datasets.demo.record import compose
from genreflow.datasets.demo.settings import Settings, load_settings

__all__ = ["Settings", "compose", "load_settings"]
