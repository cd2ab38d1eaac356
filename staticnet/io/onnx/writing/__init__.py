"""Graphs written as ONNX: one table from op classes to what writes them, in files by family."""
