"""The architectures as parameters of tests: those that take long are slow tests."""

import pytest

from genreflow.models import MODELS

# Building these again and again takes longer than a coffee.
HEAVY = {"wide_parallel_cnn", "resnet50", "vgg_large", "cnn_bilstm", "cnn_gru_augmented"}
# One of each kind: convolutions, recurrent layers, windows inside the graph, ours.
TYPICAL = {"parallel_cnn", "cnn_rnn", "cnn_gru", "crnn", "efficient"}
EACH = [pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else []) for name in MODELS]
TYPICAL_FIRST = [pytest.param(name, marks=[] if name in TYPICAL else [pytest.mark.slow]) for name in MODELS]
