"""Reading and writing: data sets in their official formats, safetensors files, device code."""

from staticnet.io import datasets, safetensors

__all__ = ["datasets", "safetensors"]
