"""The dynamic contender: the same loss function, run op by op on tensors, with a tape."""

from __future__ import annotations

import re
from collections.abc import Sequence

from staticnet.backends.base import choose
from staticnet.compare.model import Array, Build, Feed, build_model, updates_of
from staticnet.compare.static import compile_seconds, facts_of
from staticnet.compare.steps import Facts, Steps, nbytes, peak_growth
from staticnet.dynamic import Optimizer, as_tensor, trace
from staticnet.errors import ArgumentError
from staticnet.function import BACKENDS, function
from staticnet.ir.dtype import DTYPES, short_name
from staticnet.ir.op import OPS
from staticnet.ops.state import placeholder

TRACED = 5  # steps
_LINE = re.compile(r"(?P<op>\S+) (?P<given>.*)-> (?P<result>\S+) (?P<ms>[\d.]+) ms ")
_TYPE = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")
_BYTES = {short_name(dtype): dtype.itemsize for dtype in DTYPES.values()}


class DynamicStep:
    """A training step that runs as it is written, from given initial values of the state."""

    def __init__(self, build: Build, feeds: Sequence[Feed], state: Sequence[Array], device: str,
                 seed: int) -> None:  # fmt: skip
        self.model = model = build_model(build, feeds[0], seed)
        if [v.shape for v in model.state] != [x.shape for x in state]:
            raise ArgumentError(
                "compare: build() gave other variables the second time; it must make the same "
                "model at each call"
            )
        for variable, value in zip(model.state, state, strict=True):
            variable.value = value
        self.feeds = feeds
        self._on_gpu = choose(device, BACKENDS).name == "cuda"
        self.optimizer = Optimizer(model.rule, list(model.parameters), device=self._host(device))

    def _host(self, device: str) -> str:
        return "auto" if self._on_gpu or device == "auto" else device

    def __call__(self, *feed: Array) -> float:
        """Forward, backward and update; gives the loss."""
        loss = self.model.objective(*[as_tensor(self._placed(x)) for x in feed])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss)

    def _placed(self, x: Array) -> Array:
        if not self._on_gpu:
            return x
        import cupy

        moved: Array = cupy.asarray(x)
        return moved

    def steps(self) -> Steps:
        """Steps over the feeds."""
        return Steps.of(self, self.feeds)

    def facts(self) -> Facts:
        """What a step does, counted as it runs; its optimizer's part is a compiled function.

        Gradients that are added up in place are not counted.
        """
        feed = self.feeds[0]
        grads = tuple(w.value for w in self.model.parameters)
        update = self._update(grads)
        counted = [self._count(feed) for _ in range(TRACED)]
        calls, made, moved, _ = counted[-1]
        least = min(update.device_s)
        held = update.peak - nbytes(grads) + nbytes(feed)
        return Facts(
            calls + update.launches,
            made + update.allocations,
            moved + update.bytes_moved,
            held + peak_growth(lambda: self(*feed)),
            tuple(within + least for *_, within in counted),
            update.compile_s,
        )

    def _update(self, arrays: Feed) -> Facts:
        """What the optimizer's step does, a function of the gradients."""
        grads = {
            w: placeholder(w.shape, w.dtype, f"gradient_{i}")
            for i, w in enumerate(self.model.parameters)
        }
        updates = updates_of(self.model.rule, dict(grads))
        device = self.optimizer.device
        step, seconds = compile_seconds(
            lambda: function(list(grads.values()), [], updates, device=device)
        )
        return facts_of(step, arrays, seconds)

    def _count(self, feed: Feed) -> tuple[int, int, int, float]:
        """Calls, arrays made, bytes read and written, and seconds within the calls, of a step."""
        lines: list[str] = []
        with trace(lines.append):
            self(*feed)
        calls = made = moved = 0
        seconds = 0.0
        for line in lines:
            found = _LINE.match(line)
            assert found is not None, line
            calls += 1
            seconds += float(found["ms"]) / 1e3
            if not OPS[found["op"]].moves:
                made += 1
                moved += _bytes_of(found["given"]) + _bytes_of(found["result"])
        return calls, made, moved, seconds


def _bytes_of(text: str) -> int:
    """The bytes of all types that a text names, such as `f32[64,10] f32[10]`."""
    total = 0
    for name, dims in _TYPE.findall(text):
        size = _BYTES[name]
        for dim in filter(None, dims.split(",")):
            size *= int(dim)
        total += size
    return total
