"""Ops over spatial axes, the last ones or those between examples and channels: convolution."""
