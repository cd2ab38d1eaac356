"""Ops over spatial axes, between examples and channels or after them: convolution, pooling."""
