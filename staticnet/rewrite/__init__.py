"""Rewriting: rules as equations between patterns, and the driver that applies them."""
