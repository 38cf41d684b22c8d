"""Quantization-aware training of a Keras 3 model, by TFMOT."""
