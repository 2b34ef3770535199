"""Every published system on the data at hand: trained as its authors did, and as it should be; one table of both."""

from genreflow.training.reproduce.loop import reproduce
from genreflow.training.reproduce.tasks import Material

__all__ = ["Material", "reproduce"]
