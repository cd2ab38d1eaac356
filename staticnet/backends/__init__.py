"""The backends: each runs a compiled graph on one kind of device."""
