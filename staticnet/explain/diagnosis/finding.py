"""What a diagnosis finds: the kind, the user's line, what was seen, the remedy."""

from __future__ import annotations

from dataclasses import dataclass

from staticnet.ir.node import Node


@dataclass(frozen=True, eq=False)
class Finding:
    """A fault: its kind, where it is, what was seen there, and what to do about it."""

    kind: str
    line: str
    module: str
    seen: str
    remedy: str
    node: Node | None = None

    def __str__(self) -> str:
        return f"{self.kind} ({self.where}): {self.seen}; {self.remedy}"

    @property
    def where(self) -> str:
        """The line, and the module's path."""
        parts = (self.line, f"in {self.module}" if self.module else "")
        return ", ".join(filter(None, parts)) or "an unknown line"
