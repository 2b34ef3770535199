"""The architectures as test parameters; those that take long are marked slow."""

import pytest

from genreflow.models import MODELS

ON_SEGMENTS = [name for name, row in MODELS.items() if not row.embedding]
# Building these repeatedly takes minutes.
HEAVY = {"wide_parallel_cnn", "resnet50", "vgg_large", "cnn_bilstm", "cnn_gru_augmented"}
# One of each kind: convolutional, recurrent, both, on windows of a track, and ours.
TYPICAL = {"parallel_cnn", "cnn_rnn", "cnn_gru", "crnn", "efficient"}
EACH = [pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else []) for name in ON_SEGMENTS]
TYPICAL_ELSE_SLOW = [pytest.param(name, marks=[] if name in TYPICAL else [pytest.mark.slow]) for name in ON_SEGMENTS]
