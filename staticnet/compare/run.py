"""`sn.compare`: one model, executed in each of the ways there are, checked and timed together."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from staticnet.backends.base import choose
from staticnet.compare import environment, result, stats, story
from staticnet.compare.comparison import Comparison
from staticnet.compare.contenders import (
    Contender,
    Elsewhere,
    Here,
    Pace,
    Say,
    check_losses,
    race,
)
from staticnet.compare.eager import DynamicStep
from staticnet.compare.model import Build, Feed, Model, as_feeds, build_model
from staticnet.compare.peers import Peer, check_peers, packed, start, target_of
from staticnet.compare.process import WorkerError
from staticnet.compare.reference import reference_losses
from staticnet.compare.static import MANY_STEPS, NO_PASSES, StaticStep, variants
from staticnet.compilation import PASSES
from staticnet.errors import ArgumentError, StaticnetError
from staticnet.function import BACKENDS
from staticnet.ops.arguments import as_size
from staticnet.ops.promotion import is_scalar, python_number

NO_GRAPH = "without cuda_graph"
OURS = (
    result.DYNAMIC, NO_PASSES, result.ALL, MANY_STEPS, NO_GRAPH, *(f"without {p}" for p in PASSES),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How to compare."""

    device: str
    steps: int
    rounds: int
    seconds: float
    rtol: float
    seed: int
    limit: float

    def __post_init__(self) -> None:
        for name in ("steps", "rounds"):
            size = as_size(getattr(self, name), f"compare: {name}")
            object.__setattr__(self, name, size)
        for name in ("seconds", "rtol", "limit"):
            given = getattr(self, name)
            number = python_number(given) if is_scalar(given) else None
            if number is None or isinstance(number, bool) or not 0 < number < float("inf"):
                raise ArgumentError(f"compare: {name} must be greater than 0, not {given!r:.40}")
            object.__setattr__(self, name, float(number))


def compare(
    build: Build,
    feeds: Sequence[Any],
    *,
    device: str = "auto",
    steps: int = 100,
    peers: Sequence[Peer] = (),
    rounds: int = 10,
    seconds: float = 0.05,
    rtol: float = 1e-3,
    seed: int = 0,
    name: str = "",
    limit: float = 300.0,
    progress: Say = lambda _: None,
) -> Comparison:
    """Train one model dynamically and compiled, check that the losses agree, and time the steps.

    `build()` makes the model anew and gives `(loss, rule)`: a function of the feeds that gives the
    loss, and an optimizer. The function is written once. It runs on tensors in each step of
    dynamic execution, and once on placeholders for the compiled ones:

        def build():
            model = sn.nn.Sequential(sn.nn.Linear(2, 16), sn.nn.Tanh(), sn.nn.Linear(16, 2))

            def loss(x, y):
                return sn.nn.cross_entropy(model(x), y)

            return loss, sn.optim.Adam(lr=1e-2)

        comparison = sn.compare(build, [(x0, y0), (x1, y1)], device="cpu")
        print(comparison)
        comparison["static, all passes"]["launches"]
        comparison.save("runs/compare")

    `feeds` has one tuple of arrays a step, all of one size; they come round again. The contenders
    are dynamic execution; the step compiled with all passes, with none, and without each in turn,
    on a GPU also without the CUDA graph; the step run many times a call; and the `peers`. All start
    from the same weights. Each trains for `steps` steps, whose losses must be those of the graph in
    float64 within `rtol`; nothing is timed before. Then they take turns: `rounds` rounds of
    `seconds` seconds each, or of one step that takes longer. After `limit` seconds of that no round
    begins but the first three. `progress` is called with a line about each thing that takes time.

    A peer runs in a process of its own; so does dynamic execution where `build` can be imported
    from a module, else in this one. `build` is called under `sn.manual_seed(seed)`.

    Raises:
        ComparisonError: if a loss differs; names the contender and the first step.
        SymbolicValueError: if Python asks for a value in the loss function, as `if x > 0` does:
            that model runs dynamically alone. Names the line and what to use instead.
        FeedError: if there are no feeds, or they differ in size.
        ArgumentError: if an argument is out of its range, two contenders have one name, or `build`
            gives something else.
        DeviceError: if the device is not there.
    """
    chosen = choose(device, BACKENDS).name
    settings = Settings(chosen, steps, rounds, seconds, rtol, seed, limit)
    about = environment.describe(environment.usable_cores())
    check_peers(peers, OURS)
    given = as_feeds(feeds)
    model = build_model(build, given[0], seed)
    with _Comparing(build, given, model, settings, progress) as comparing:
        comparing.gather(peers)
        raw = comparing.measure(about)
        return _comparison(raw, name or getattr(build, "__name__", "model"), comparing)


class _Comparing:
    """The contenders of one comparison, their processes, and what is to be noted."""

    def __init__(
        self, build: Build, feeds: Sequence[Feed], model: Model, settings: Settings, say: Say
    ) -> None:
        self.build, self.feeds, self.model, self.settings = build, feeds, model, settings
        self.say = say
        self.notes: list[str] = []
        self.contenders: list[Contender] = []
        self.everything: StaticStep | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Comparing:
        temporary = tempfile.TemporaryDirectory(prefix="staticnet-compare-")
        self._folder = Path(self._stack.enter_context(temporary))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def gather(self, peers: Sequence[Peer]) -> None:
        """All contenders; processes start side by side, and then the compiling begins."""
        started = list(self._start_all(peers))
        ready = [c for c in started if self._is_ready(c)]
        kind_of = {c.name: c for c in ready}
        dynamic = kind_of.pop(result.DYNAMIC, None) or self._dynamic_here()
        self.contenders = [dynamic, *sorted(self._static(), key=_place), *kind_of.values()]

    def _start_all(self, peers: Sequence[Peer]) -> Iterator[Contender]:
        target = target_of(self.build)
        if target is not None:
            state = {f"{i:04}": v.value for i, v in enumerate(self.model.state)}
            setup = {"name": result.DYNAMIC, "kind": result.DYNAMIC, "target": target}
            yield self._start(setup | {"options": {}}, state)
        else:
            self.notes.append(
                "dynamic execution ran in the process of the compiled steps: build() cannot be "
                "imported from a module"
            )
        for peer in peers:
            if missing := peer.missing():
                self.notes.append(f"{peer.name} was left out: {missing}")
                continue
            setup = {"name": peer.name, "kind": result.PEER, "target": peer.target}
            yield self._start(setup | {"options": dict(peer.options)}, self.model.weights())

    def _start(self, setup: dict[str, Any], values: dict[str, Any]) -> Contender:
        settings = self.settings
        setup |= {"device": settings.device, "seed": settings.seed}
        process = start(self._folder, setup, packed(self.feeds, values))
        return Contender(
            setup["name"], setup["kind"], Elsewhere(self._stack.enter_context(process))
        )

    def _is_ready(self, contender: Contender) -> bool:
        assert isinstance(contender.runner, Elsewhere)
        try:
            contender.runner.process.ready()
        except WorkerError as error:
            peer = contender.kind == result.PEER
            what = "was left out" if peer else "execution ran in the process of the compiled steps"
            self.notes.append(f"{contender.name} {what}: {error}")
            return False
        return True

    def _dynamic_here(self) -> Contender:
        state = [v.value for v in self.model.state]
        settings = self.settings
        step = DynamicStep(self.build, self.feeds, state, settings.device, settings.seed)
        runner = Here(step.steps(), lambda: None, step.facts)
        return Contender(result.DYNAMIC, result.DYNAMIC, runner)

    def _static(self) -> Iterator[Contender]:
        """The compiled steps; what gives a program that is there already is not run again."""
        programs: dict[str, str] = {}
        chosen = variants(self.model, self.settings.device)
        for i, (name, compile) in enumerate(chosen.items(), 1):
            self.say(f"compiling {i} of {len(chosen)}: {name}")
            try:
                step = compile()
            except StaticnetError as error:
                if name == result.ALL:
                    raise
                self.notes.append(f"{name} does not compile: {error}")
                continue
            kind = result.WITHOUT if name.startswith("without ") else result.STATIC
            known = programs.setdefault(step.program(), name)
            same = None if known == name else known
            yield Contender(name, kind, self._here(step, step.steps(self.feeds)), same)
            if name == result.ALL:
                self.everything = step
                yield from self._other_ways(step)

    def _other_ways(self, step: StaticStep) -> Iterator[Contender]:
        many, launched = step.many_steps(self.feeds), step.launched_steps(self.feeds)
        if many is not None:
            yield Contender(MANY_STEPS, result.MANY, self._here(step, many))
        if launched is not None:
            yield Contender(NO_GRAPH, result.WITHOUT, self._here(step, launched))

    def _here(self, step: StaticStep, steps: Any) -> Here:
        return Here(steps, step.reset, lambda: step.facts(self.feeds[0]))

    def measure(self, about: dict[str, Any]) -> dict[str, Any]:
        """Check all losses, then time all; what was measured, as the result's `raw`."""
        assert self.everything is not None
        graph = self.everything.function.graph
        self.everything.reset()
        settings = self.settings
        self.say(f"losses of {settings.steps} steps in float64")
        reference = reference_losses(graph, self.feeds, settings.steps)
        running = [c for c in self.contenders if c.same_as is None]
        for i, c in enumerate(list(running), 1):
            self.say(f"losses {i} of {len(running)}: {c.name}")
            try:
                check_losses(c, reference, settings.rtol)
            except WorkerError as error:
                running.remove(c)
                self.notes.append(f"{c.name} was left out: {error}")
        pace = Pace(settings.rounds, settings.seconds, settings.limit)
        finished = race(running, pace, self.notes.append, self.say)
        kept = {c.name for c in finished}
        shown = [c for c in self.contenders if (c.same_as or c.name) in kept]
        return {
            "settings": asdict(settings) | {"ulp_steps": result.ULP_STEPS},
            "environment": about,
            "loss_dtype": self.model.loss.dtype.name,
            "reference": reference,
            "contenders": [c.record for c in shown],
        }


def _place(contender: Contender) -> int:
    """Where a compiled contender stands: from no passes to all, then each left out."""
    order = [NO_PASSES, result.ALL, MANY_STEPS]
    return order.index(contender.name) if contender.name in order else len(order)


def _comparison(raw: dict[str, Any], name: str, comparing: _Comparing) -> Comparison:
    assert comparing.everything is not None
    rows = result.rows_of(raw)
    data: dict[str, Any] = {
        "format": result.FORMAT,
        "name": name,
        "columns": result.COLUMNS,
        "rows": rows,
        "environment": environment.as_text(raw["environment"]),
        "warnings": list(_warnings(raw)),
        "notes": [*story.told(rows), *comparing.notes, _how(raw)],
        "waterfall_svg": "",
        "document": comparing.everything.function.document(*comparing.feeds[0]),
        "raw": raw,
    }
    as_read_again = json.loads(json.dumps(data), parse_constant=lambda _: None)
    return Comparison(as_read_again)


def _timed(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """What was measured of the contenders that ran."""
    return [c for c in raw["contenders"] if c["same_as"] is None]


def _how(raw: dict[str, Any]) -> str:
    """How the figures were made."""
    settings, rounds = raw["settings"], len(_timed(raw)[0]["samples"])
    return (
        f"on {settings['device']}; {settings['steps']} losses checked against float64 before "
        f"timing; medians of {rounds} interleaved rounds, 95 % bootstrap intervals "
        "over rounds; no verdict where an interval spans 1"
    )


def _warnings(raw: dict[str, Any]) -> Iterator[str]:
    """What a reader has to know before believing the numbers."""
    about, timed = raw["environment"], _timed(raw)
    rounds = len(timed[0]["samples"])
    if result.is_busy(about):
        yield (
            f"other processes were running (load {about['load']}): the times are not to be "
            "trusted, and no verdict is given"
        )
    if rounds == 1:
        yield "one round has no interval"
    elif rounds < stats.ENOUGH:
        yield f"fewer than {stats.ENOUGH} rounds are too few for intervals to be trusted"
    restless = [c["name"] for c in timed if not c["warm_up"]["settled"]]
    if restless:
        yield f"still changing when the warm-up ended: {', '.join(restless)}"
    found = [(c["name"], stats.outliers(c["samples"])) for c in timed]
    often = [(name, o.share) for name, o in found if o.share > stats.OFTEN]
    uneven = [f"{name} ({share:.0%} of its samples)" for name, share in often]
    if uneven:
        yield f"many outliers: {', '.join(uneven)}"
