"""Every published system on the data at hand: trained as its authors did, and as it should be; one table of both."""

from genreflow.reproduction.reproduce import reproduce
from genreflow.reproduction.tasks import Material

__all__ = ["Material", "reproduce"]
