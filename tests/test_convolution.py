"""Convolutions against PyTorch in float64, over their options, on every device."""
