"""Architectures and their search spaces; importing this room imports no Keras, building a model does."""

from genreflow.models.architecture import Architecture
from genreflow.models.registry import MODELS, body_parameters, build_model, describe
from genreflow.models.space import Choice, Dimension, File, Float, Int

__all__ = [
    "MODELS",
    "Architecture",
    "Choice",
    "Dimension",
    "File",
    "Float",
    "Int",
    "body_parameters",
    "build_model",
    "describe",
]
