"""Trains Keras 3 models with 8-bit weights and activations (quantization-aware), by TFMOT."""
