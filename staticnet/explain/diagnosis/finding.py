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
        where = f"{self.line}, in {self.module}" if self.module else self.line
        return f"{self.kind} ({where}): {self.seen}; {self.remedy}"
