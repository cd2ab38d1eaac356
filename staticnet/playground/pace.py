"""How many epochs between two frames, and how fast they go."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

FRAME = 1 / 60  # seconds between two frames
BURST = 0.0075  # seconds of training between two frames at full speed: a frame waits for it
WINDOW = 1.0  # seconds over which steps are counted
TELL = 0.2  # seconds between two texts about what is selected


class Timing:
    """The steps of a burst, set by who makes them."""

    steps = 0


class Pace:
    """Epochs of the next burst, and when it is due."""

    def __init__(self) -> None:
        self.begin(1)
        self.seconds_per_step = float("nan")
        self._told = 0.0

    def begin(self, epochs: int) -> None:
        """So many epochs a frame from now on; 0 is as many as there is time for."""
        self._full = epochs == 0
        self.epochs = max(epochs, 1)
        self.seconds = BURST if self._full else FRAME
        self._due = time.perf_counter()
        self._bursts: deque[tuple[float, int]] = deque()

    def wait(self) -> float:
        """Seconds until the next burst."""
        return 0.0 if self._full else max(0.0, self._due - time.perf_counter())

    @contextmanager
    def timed(self) -> Iterator[Timing]:
        """Time a burst, and say how long the next one is."""
        start, work = time.perf_counter(), time.thread_time()
        self._due = max(self._due + FRAME, start)
        timing = Timing()
        yield timing
        end = time.perf_counter()
        self.seconds_per_step = (end - start) / timing.steps
        self._bursts.append((end, timing.steps))
        if self._full:
            ratio = BURST / max(time.thread_time() - work, 1e-6)  # others may have had the core
            self.epochs = max(1, min(round(self.epochs * min(ratio, 2.0)), 100_000))

    def steps_per_second(self) -> float:
        """Over the last second or what there is of it."""
        now = time.perf_counter()
        while self._bursts and self._bursts[0][0] < now - WINDOW:
            self._bursts.popleft()
        if len(self._bursts) < 2:
            return float("nan")
        first = self._bursts[0][0]
        return sum(steps for _, steps in list(self._bursts)[1:]) / (now - first)

    def tells(self) -> bool:
        """Whether it is time for another text."""
        now = time.perf_counter()
        if now - self._told < TELL:
            return False
        self._told = now
        return True
