"""Export a fitted Keras model to ONNX and to a bundle, and check that both give the same logits."""
