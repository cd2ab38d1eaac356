"""Branches and loops: structured where shapes keep, and followed step by step where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.errors import OnnxError, StaticnetError
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.graphs import Body
from staticnet.io.onnx.registry import operator
from staticnet.ir.dim import Dim
from staticnet.ir.value import Value

MAX_UNROLLED = 10_000
BOUND = 1 << 12
"""Steps of a loop with a condition, of which a model in training keeps as many carries."""


@operator("If")
def if_(call: Call, condition: Any) -> Any:
    """One of two graphs: chosen while the graph is built, if the condition is known then."""
    chosen = call.knowledge(condition)
    branches = [call.graph("then_branch"), call.graph("else_branch")]
    if chosen is None:
        try:
            return _cond(call, condition, branches)
        except StaticnetError as error:
            if isinstance(error, OnnxError) and error.inputs:
                raise
            chosen = _known(call, condition, "the condition", error)
    return tuple(call.execution.body(branches[0 if bool(chosen.ravel()[0]) else 1], (), call.scope))


def _cond(call: Call, condition: Any, branches: list[Body]) -> Any:
    def branch(body: Body) -> Any:
        return lambda: _values(call.execution.body(body, (), call.scope))

    return tuple(sn.cond(sn.reshape(condition, ()), branch(branches[0]), branch(branches[1])))


def _values(results: Sequence[Any]) -> list[Any]:
    if not all(isinstance(x, Value) for x in results):
        raise OnnxError("a sequence or an optional value goes through a branch or a loop")
    return list(results)


def _known(call: Call, value: Any, what: str, cause: StaticnetError) -> Any:
    """A known value, without which a step fails for the reason of `cause`."""
    try:
        return call.known(value, what)
    except OnnxError as error:
        told = OnnxError(f"{cause}; {error}")
        told.inputs = error.inputs
        raise told from cause


@operator("Loop")
def loop(call: Call, trips: Any = None, condition: Any = None, *carried: Any) -> Any:
    """The body, again and again: at most `trips` times, as long as its condition holds.

    The body takes the number of the step, the condition and what is carried; it gives the next
    condition, what is carried on, and elements of results that are stacked.
    """
    body = call.graph("body")
    count = None if trips is None else call.knowledge(trips)
    most = None if count is None else count.ravel().tolist()[0]
    begins = None if condition is None else call.knowledge(condition)
    always = condition is None or (begins is not None and bool(begins.ravel()[0]))
    if all(isinstance(x, Value) for x in carried):
        cause: StaticnetError
        try:
            if most is not None and always:
                found = _scanned(call, body, most, carried)
                if found is not None:
                    return found
            if len(body.outputs) - 1 == len(carried):
                bound = most if call.training and type(most) is int and most <= BOUND else None
                return _looped(call, body, trips, condition, carried, bound)
            cause = OnnxError("how many steps there are depends on values that only a run gives")
        except StaticnetError as error:
            cause = error
    else:
        cause = OnnxError("what is carried is no tensor")
    return _unrolled(call, body, trips, condition, list(carried), cause)


def _scanned(call: Call, body: Body, most: Any, carried: Sequence[Any]) -> Any:
    """A loop of a number of steps that is known; None if its condition is not."""
    stops = False

    def step(carry: Any, i: Any) -> Any:
        nonlocal stops
        results = call.execution.body(body, [i, sn.constant(True), *carry], call.scope)
        goes_on = call.knowledge(results[0])
        stops = stops or goes_on is None or not bool(goes_on.ravel()[0])
        values = _values(results[1:])
        return values[: len(carried)], values[len(carried) :]

    count = most if isinstance(most, Dim) else max(0, min(int(most), 2**40))
    last, stacked = sn.scan(step, list(carried), sn.arange(count))
    return None if stops else (*last, *stacked)


def _looped(
    call: Call, body: Body, trips: Any, condition: Any, carried: Sequence[Any], bound: int | None
) -> Any:
    """A loop whose number of steps a run finds; with a `bound` of them it has derivatives."""
    begins = sn.constant(True) if condition is None else sn.reshape(condition, ())
    end = None if trips is None else sn.reshape(trips, ())

    def goes_on(carry: Any) -> Any:
        i, test, _ = carry
        return test if end is None else sn.logical_and(test, i < end)

    def step(carry: Any) -> Any:
        i, test, values = carry
        results = _values(call.execution.body(body, [i, test, *values], call.scope))
        return i + 1, sn.reshape(results[0], ()), results[1:]

    first = (sn.constant(np.int64(0)), begins, list(carried))
    return tuple(sn.while_loop(goes_on, step, first, bound)[2])


def _unrolled(
    call: Call, body: Body, trips: Any, condition: Any, carried: list[Any], cause: StaticnetError
) -> Any:
    """A loop's steps one after another, while its condition is known."""
    most = None if trips is None else _known(call, trips, "the number of steps", cause).ravel()[0]
    test = None if condition is None else condition
    stacked: list[list[Any]] = [[] for _ in body.outputs[1 + len(carried) :]]
    i = 0
    while most is None or i < most:
        if test is not None and not _known(call, test, "the condition", cause).ravel()[0]:
            break
        if i >= MAX_UNROLLED:
            call.fail(f"the loop takes more than {MAX_UNROLLED} steps; {cause}")
        now = sn.constant(True) if test is None else test
        results = call.execution.body(body, [sn.constant(np.int64(i)), now, *carried], call.scope)
        test, carried = results[0], results[1 : 1 + len(carried)]
        for row, value in zip(stacked, results[1 + len(carried) :], strict=True):
            row.append(value)
        i += 1
    return (*carried, *(_stack(row, x) for row, x in
                        zip(stacked, body.outputs[1 + len(carried) :], strict=True)))  # fmt: skip


def _stack(row: list[Any], declared: Any) -> Any:
    if row:
        return sn.stack(row)
    shape = [0, *(d if isinstance(d, int) else 0 for d in declared.shape or ())]
    return sn.zeros(shape, declared.dtype or sn.float32)


@operator("Scan", since=9)
def scan(call: Call, *operands: Any) -> Any:
    """The body on the elements of sequences, with what it carries from one to the next."""
    count = call.integer("num_scan_inputs")
    if not 1 <= count <= len(operands):
        call.fail(f"num_scan_inputs is {count}, and there are {len(operands)} operands")
    carried, xs = operands[: len(operands) - count], operands[len(operands) - count :]
    axes = call.ints("scan_input_axes") or [0] * count
    turns = call.ints("scan_input_directions") or [0] * count
    rows = [
        _turned(sn.moveaxis(x, call.place(axis, x.ndim), 0), turn)
        for x, axis, turn in zip(xs, axes, turns, strict=True)
    ]
    last, stacked = _scan(call, carried, rows)
    axes = call.ints("scan_output_axes") or [0] * len(stacked)
    turns = call.ints("scan_output_directions") or [0] * len(stacked)
    moved = [
        sn.moveaxis(_turned(y, turn), 0, call.place(axis, y.ndim))
        for y, axis, turn in zip(stacked, axes, turns, strict=True)
    ]
    return (*last, *moved)


def _scan(call: Call, carried: Sequence[Any], rows: Sequence[Any]) -> Any:
    body = call.graph("body")

    def step(carry: Any, x: Any) -> Any:
        values = _values(call.execution.body(body, [*carry, *x], call.scope))
        return values[: len(carried)], values[len(carried) :]

    return sn.scan(step, list(carried), list(rows))


def _turned(x: Any, turn: int) -> Any:
    return sn.flip(x, 0) if turn else x


@operator("Scan", since=8)
def scan_of_examples(call: Call, lengths: Any, *operands: Any) -> Any:
    """The same for each example of a batch, which is the first axis of all operands."""
    if lengths is not None:
        call.fail("lengths of sequences are not supported")
    count = call.integer("num_scan_inputs")
    batch = operands[-1].shape[0]
    if not isinstance(batch, int):
        call.fail(f"the batch must be known, not {batch}")
    turns = call.ints("directions") or [0] * count
    results = []
    for i in range(batch):
        own = [x[i] for x in operands]
        rows = [_turned(x, t) for x, t in zip(own[len(own) - count :], turns, strict=True)]
        last, stacked = _scan(call, own[: len(own) - count], rows)
        results.append([*last, *stacked])
    return tuple(sn.stack(list(row)) for row in zip(*results, strict=True))
