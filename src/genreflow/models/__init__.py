"""Architectures and their search spaces. Importing this package does not import Keras; building a model does."""

from genreflow.models.architecture import Architecture, TrainingProtocol
from genreflow.models.build import MODELS, body_parameters, build_model, validate_hyperparameters
from genreflow.models.description import describe
from genreflow.models.dimensions import Choice, Dimension, File, Float, Int
from genreflow.models.frontend import FrontEnd

__all__ = [
    "MODELS",
    "Architecture",
    "Choice",
    "Dimension",
    "File",
    "Float",
    "FrontEnd",
    "Int",
    "TrainingProtocol",
    "body_parameters",
    "build_model",
    "describe",
    "validate_hyperparameters",
]
