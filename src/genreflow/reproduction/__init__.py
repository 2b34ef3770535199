"""Published systems side by side: fitted under their authors' protocol and on the group-disjoint split of a project."""

from genreflow.reproduction.reproduce import reproduce
from genreflow.reproduction.tasks import ProjectData

__all__ = ["ProjectData", "reproduce"]
