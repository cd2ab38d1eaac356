"""A process that holds one contender: `python -m staticnet.compare.worker`.

It reads commands as lines of JSON and answers each with one line:

| command | answer |
|---|---|
| `{"do": "start", "kind": K, "target": "module:function", "data": FILE, …}` | `ready` |
| `{"do": "losses", "steps": K}` | `losses` of the next K steps, `first_s`: building and the first |
| `{"do": "warm", "seconds": S, "limit": L}` | how it warmed up; calls per sample |
| `{"do": "round", "seconds": S, "calls": K}` | `samples`: seconds a step, K steps each |
| `{"do": "facts"}` | what a step does, as far as it is known |
| `{"do": "quit"}` | none |

An exception is answered as `{"error": text}`. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from staticnet.compare import timing
from staticnet.compare.eager import DynamicStep
from staticnet.compare.peers import unpacked
from staticnet.compare.result import DYNAMIC
from staticnet.compare.steps import Facts, Steps, as_record


class Worker:
    """The state between commands: the contender's steps, when it has started."""

    def __init__(self) -> None:
        self.steps: Steps | None = None
        self.facts_of: Callable[[], Facts] | None = None
        self.building = 0.0

    def start(
        self,
        kind: str,
        target: str,
        path: Sequence[str],
        data: str,
        device: str,
        seed: int,
        options: Mapping[str, str],
        name: str,
    ) -> dict[str, Any]:
        """Import the contender's function and build its program."""
        sys.path[:] = [*path, *(p for p in sys.path if p not in path)]
        module, _, attribute = target.partition(":")
        function = getattr(importlib.import_module(module), attribute)
        with np.load(Path(data)) as arrays:
            feeds, values = unpacked(arrays)
        began = time.perf_counter()
        if kind == DYNAMIC:
            step = DynamicStep(function, feeds, list(values.values()), device, seed)
            self.steps, self.facts_of = step.steps(), step.facts
        else:
            made = function(feeds, values, device, **options)
            self.steps = made if isinstance(made, Steps) else Steps.of(made, feeds)
        self.building = time.perf_counter() - began
        return {"ready": name}

    def losses(self, steps: int) -> dict[str, Any]:
        """The losses of the next steps; the time of building and of the first step."""
        began = time.perf_counter()
        first = self._steps().losses(1)
        took = time.perf_counter() - began
        rest = self._steps().losses(steps - 1) if steps > 1 else ()
        return {"losses": [float(x) for x in (*first, *rest)], "first_s": self.building + took}

    def warm(self, seconds: float, limit: float) -> dict[str, Any]:
        """Repeat until the times agree, or `limit` seconds have passed."""
        return timing.warm_up(self._steps().repeat, seconds, limit)

    def round(self, seconds: float, calls: int) -> dict[str, Any]:
        """Samples of so many calls each."""
        steps = self._steps()
        return {"samples": timing.round_of(steps.repeat, seconds, calls, steps.per_call)}

    def facts(self) -> dict[str, Any]:
        """What is known of a step."""
        return as_record(self.facts_of() if self.facts_of else None)

    def _steps(self) -> Steps:
        assert self.steps is not None, "start comes first"
        return self.steps


def serve(worker: Worker, commands: TextIO, answers: TextIO) -> None:
    """Answer commands until the end."""
    acts: dict[str, Callable[..., dict[str, Any]]] = {
        name: getattr(worker, name) for name in ("start", "losses", "warm", "round", "facts")
    }
    for line in commands:
        command = json.loads(line)
        act = command.pop("do")
        if act == "quit":
            return
        try:
            answer = acts[act](**command)
        except Exception as error:  # the parent reports it and goes on with the others
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Serve on standard input and output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Worker(), sys.stdin, answers)


if __name__ == "__main__":
    main()
