"""Numbers as a reader takes them in: bytes and seconds with a unit that suits them."""

from __future__ import annotations


def format_bytes(size: int) -> str:
    """`64 B`, `1.5 KiB`, `12 MiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{_rounded(value)} {unit}"
        value /= 1024
    return f"{_rounded(value)} TiB"


def format_seconds(seconds: float) -> str:
    """`250 ns`, `1.4 ms`: two digits, which is what a measurement of time is good for."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{two_digits(seconds * factor)} {unit}"
    return f"{two_digits(seconds * 1e9)} ns"


def two_digits(value: float) -> str:
    """`0.034`, `1.4`, `120`: a measured number to two significant digits."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:#.2g}"


def _rounded(value: float) -> str:
    """Three digits, or all before the point; none that say nothing."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
