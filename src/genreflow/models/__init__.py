"""Architectures and their search spaces; importing this room imports no Keras, building a model does."""

from genreflow.models.architecture import Architecture, Protocol
from genreflow.models.frontend import AS_PUBLISHED, FrontEnd
from genreflow.models.listing import describe
from genreflow.models.registry import MODELS, body_parameters, build_model, checked
from genreflow.models.space import Choice, Dimension, File, Float, Int

__all__ = [
    "AS_PUBLISHED",
    "MODELS",
    "Architecture",
    "Choice",
    "Dimension",
    "File",
    "Float",
    "FrontEnd",
    "Int",
    "Protocol",
    "body_parameters",
    "build_model",
    "checked",
    "describe",
]
