"""From a fitted Keras model to a bundle: ONNX, and the check that both give the same logits."""
