"""What a call returns or keeps shares memory with nothing; steps on one state take turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import SAMPLES
from side_by_side import in_threads

import staticnet as sn
from staticnet.compilation import PASSES
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import apply
from staticnet.ops.held import Held

COMPILES = True
BATCH = 32
BATCHES = [SAMPLES[i : i + BATCH] for i in range(0, len(SAMPLES), BATCH)]
DTYPES = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")
PASSING: dict[str, Callable[[Any], Any]] = {
    "itself": lambda x: x,
    "astype": lambda x: sn.astype(x, x.dtype),
    "stop_gradient": sn.stop_gradient,
    "optimization_barrier": lambda x: apply(OptimizationBarrier(0), x),
    "held": lambda x: apply(Held(), x),
    "reshape": lambda x: sn.reshape(x, (3, 2)),
    "broadcast_to": lambda x: sn.broadcast_to(x, (1, 2, 3)),
    "expand_dims": sn.expand_dims,
    "squeeze": lambda x: sn.squeeze(sn.expand_dims(x)),
    "permute_dims": lambda x: sn.permute_dims(x, (0, 1)),
    "transposed twice": lambda x: x.T.T,
    "slice": lambda x: x[:, :],
    "split": lambda x: sn.split(x, 1)[0],
    "flip twice": lambda x: sn.flip(sn.flip(x)),
    "roll": lambda x: sn.roll(x, 0),
    "tile": lambda x: sn.tile(x, (1, 1)),
    "repeat": lambda x: sn.repeat(x, 1, axis=0),
    "concat": lambda x: sn.concat([x]),
    "pad": lambda x: sn.pad(x, (0, 0)),
    "where": lambda x: sn.where(True, x, x),
    "clip": sn.clip,
    "dropout": lambda x: sn.nn.dropout(x, 0.0, sn.random.Generator(0).key(like=x)),
    "identity": sn.nn.Identity(),
    **{name: getattr(sn, name) for name in ("round", "floor", "ceil", "trunc", "positive")},
    **{name: getattr(sn, name) for name in ("abs", "sum", "prod", "max", "sort")},
}


def span(array: Any) -> tuple[int, int]:
    """The addresses from the first byte to the last, on a fake GPU too."""
    start = array.ctypes.data if isinstance(array, np.ndarray) else int(array.data.ptr)
    return start, start + array.nbytes


def check_apart(arrays: list[Any]) -> None:
    spans = sorted(span(array) for array in arrays if array.nbytes)
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end <= start


def check_call(
    inputs: list[Any], outputs: list[Any], feeds: list[Any], device: str, passes: bool = True
) -> None:
    """Outputs, and variables that take the same values, are apart from feeds and each other."""
    state = [sn.variable(np.zeros(y.shape, y.dtype)) for y in outputs]
    twice = [sn.variable(np.zeros(y.shape, y.dtype)) for y in outputs]
    updates = dict(zip(state + twice, outputs * 2, strict=True))
    disabled = () if passes else PASSES
    results = outputs * 2 + state
    function = sn.function(inputs, results, updates, device=device, disabled_passes=disabled)
    given = [x.copy() for x in feeds]
    first = function(*feeds)
    second = function(*feeds)
    kept = [v.array for v in state + twice]
    check_apart([*feeds, *first, *second, *kept])
    for x, before in zip(feeds, given, strict=True):
        np.testing.assert_array_equal(x, before)


def passing(dtype: str) -> tuple[list[Any], list[Any], list[Any]]:
    x = sn.placeholder((2, 3), dtype, "x")
    made = []
    for build in PASSING.values():
        try:
            made.append(build(x))
        except sn.errors.DTypeError:
            continue  # not for this dtype
    return [x], made, [np.arange(6).reshape(2, 3).astype(dtype)]


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_passes_its_operand_on_is_copied(dtype: str, passes: bool) -> None:
    check_call(*passing(dtype), "numpy", passes)


@pytest.mark.parametrize("dtype", ["bool", "int64", "float32"])
def test_what_passes_its_operand_on_is_copied_in_c(dtype: str) -> None:
    check_call(*passing(dtype), "cpu")


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_what_passes_its_operand_on_is_copied_on_a_gpu(gpu: Any, dtype: str) -> None:
    check_call(*passing(dtype), "cuda")


@pytest.mark.parametrize("batch", BATCHES, ids=range(len(BATCHES)))
def test_no_op_gives_its_operand(batch: Any) -> None:
    inputs, outputs, feeds = [], [], []
    for i, sample in enumerate(batch):
        names = [f"x{i}_{k}" for k in range(len(sample.args))]
        nodes = [
            sn.placeholder(arg.shape, arg.dtype, name)
            for arg, name in zip(sample.args, names, strict=True)
        ]
        inputs += nodes
        outputs.append(sample.build(*nodes))
        feeds += [np.array(arg) for arg in sample.args]
    check_call(inputs, outputs, feeds, "numpy")


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_constants_and_state_are_apart_from_what_is_returned(device: str) -> None:
    array = np.arange(3)
    v, c = sn.variable(array), sn.constant(array)
    function = sn.function([], [v, c, sn.round(v), sn.round(c), sn.round(c)], {}, device=device)
    first, second = function(), function()
    check_apart([array, v.array, *first, *second])
    first[0][:] = 7
    first[1][:] = 7
    for result in function():
        np.testing.assert_array_equal(result, [0, 1, 2])


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_what_run_returns_is_apart_from_the_data(device: str) -> None:
    x = sn.placeholder((2, 3), "int64", "x")
    v = sn.variable(np.zeros((2, 3), "int64"))
    data = np.arange(6).reshape(2, 3)
    function = sn.function(x, sn.round(x), {v: sn.round(x)}, device=device)
    for steps in (1, 2):
        check_apart([data, function.run(steps, data), v.array])


def test_a_variable_copies_what_it_is_given() -> None:
    array = np.arange(3)
    v = sn.variable(array)
    check_apart([array, v.array, v.value])
    v.value = array
    check_apart([array, v.array, v.value])
    module = sn.nn.Module()
    module.v = v
    state = module.state_dict()
    module.load_state_dict(state)
    check_apart([*state.values(), v.array])


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("kind", ["one function", "one for each", "one for each size"])
def test_threads_lose_no_updates(device: str, kind: str) -> None:
    threads, calls = 6, 50
    count = sn.variable(np.zeros(64))
    x = sn.placeholder(("n",), "float64", "x")
    new = count + sn.sum(x)
    functions = [
        sn.function(x, new, {count: new}, name=f"add_{i}", device=device) for i in range(6)
    ]
    sizes = [i + 1 if kind == "one for each size" else 1 for i in range(threads)]
    for function, size in zip(functions, sizes, strict=True):
        chosen = function if kind == "one for each" else functions[0]
        chosen.specialize(n=size)

    def work(i: int) -> None:
        function = functions[i if kind == "one for each" else 0]
        ones = np.ones(sizes[i])
        for _ in range(calls):
            function(ones)

    in_threads(threads, work)
    np.testing.assert_array_equal(count.value, calls * sum(sizes))


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_what_shares_state_by_way_of_a_third_takes_turns(device: str) -> None:
    a, b = sn.variable(np.zeros(64)), sn.variable(np.zeros(64))
    of_a = sn.function([], [], {a: a + 1}, name="of_a", device=device)
    of_b = sn.function([], [], {b: b + 1}, name="of_b", device=device)
    of_a(), of_b()
    both = sn.function([], a - b, {a: a + 1, b: b + 1}, name="both", device=device)
    in_threads(6, lambda i: [(of_a, of_b, both)[i % 3]() for _ in range(100)] and None)
    np.testing.assert_array_equal(a.value, 401)
    np.testing.assert_array_equal(b.value, 401)


def test_steps_on_several_devices_take_turns(gpu: Any) -> None:
    count = sn.variable(np.zeros(64))
    devices = ("cuda", "cpu", "numpy")
    adds = [sn.function([], [], {count: count + 1}, name=d, device=d) for d in devices]
    for add in adds:
        executable: Any = add.specialize().executable
        run, held = executable._run, []

        def watched(feeds: Any, run: Any = run, held: list[bool] = held) -> Any:
            held.append(count.turns._root()._lock._is_owned())
            return run(feeds)

        executable._run = watched
        add()
        assert held == [True], add.device
    in_threads(3, lambda i: [adds[i]() for _ in range(50)] and None)
    np.testing.assert_array_equal(count.value, 153)


def test_a_value_is_read_whole_between_steps() -> None:
    v = sn.variable(np.zeros(1 << 16))
    step = sn.function([], [], {v: v + 1}, device="cpu")
    seen = []

    def work(i: int) -> None:
        for _ in range(50):
            if i:
                step()
            else:
                value = v.value
                seen.append(value.min() == value.max())

    in_threads(3, work)
    assert all(seen)
