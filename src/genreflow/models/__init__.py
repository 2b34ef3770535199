"""Architectures and their search spaces; importing this room imports no Keras, building a model does."""

from genreflow.models.architecture import Architecture, Protocol
from genreflow.models.build import MODELS, body_parameters, build_model, validate_hyperparameters
from genreflow.models.description import describe
from genreflow.models.dimensions import Choice, Dimension, File, Float, Int
from genreflow.models.frontend import AS_PUBLISHED, FrontEnd

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
    "describe",
    "validate_hyperparameters",
]
