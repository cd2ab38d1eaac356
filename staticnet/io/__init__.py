"""Data sets in their official formats, safetensors files, ONNX models, Model Explorer's graphs."""

from staticnet.io import datasets, model_explorer, onnx, safetensors

__all__ = ["datasets", "model_explorer", "onnx", "safetensors"]
