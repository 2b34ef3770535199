"""The built-in demo data: music composed and synthesised by rule, seeded, nobody's copyright.

`genres` says what each genre is (a table), `artists` what sets one artist of a genre apart, `harmony` and `rhythm` help
`score` write the notes, `voices`, `drums` and `production` make them sound, `record` plays them
and writes the folder.
"""

from genreflow.datasets.demo.record import compose
from genreflow.datasets.demo.settings import Settings, load_settings

__all__ = ["Settings", "compose", "load_settings"]
