"""How many steps a piece of a run has: no signal is heard in one, so it is short."""

from __future__ import annotations

PIECE_SECONDS = 0.05  # of steps in one piece: so soon a run is interrupted
MOST_GROWTH = 16  # of the number of steps from one piece to the next


def next_count(steps: int, seconds: float) -> int:
    """How many steps the next piece has, if the last one took so long for so many."""
    wanted = int(steps * PIECE_SECONDS / max(seconds, 1e-9))
    return max(1, min(wanted, MOST_GROWTH * steps))
