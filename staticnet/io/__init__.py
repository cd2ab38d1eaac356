"""Reading and writing: data sets in their official formats, safetensors files, ONNX models."""

from staticnet.io import datasets, onnx, safetensors

__all__ = ["datasets", "onnx", "safetensors"]
