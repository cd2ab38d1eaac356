"""Layers, losses and containers: the Modules."""
