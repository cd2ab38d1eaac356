"""Scratch memory of a step, which holds nothing beyond it: partial results, and routines' own."""

from __future__ import annotations

from staticnet.plan.fusion import Group
from staticnet.plan.partials import partial_bytes
from staticnet.plan.results import body_bytes, room_bytes


def scratch_bytes(group: Group) -> int:
    """Bytes of a kernel's partial results; of a routine, those of unread results and of graphs."""
    return partial_bytes(group) if group.fused else room_bytes(group) + body_bytes(group)
