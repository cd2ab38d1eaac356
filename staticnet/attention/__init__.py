"""Attention by blocks: the ops, and the plain ops that they stand for."""
