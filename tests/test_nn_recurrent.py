"""Recurrent layers and cells against PyTorch's, over their options, on every device."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import everywhere
import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import (
    ArgumentError,
    DTypeError,
    OutOfRangeError,
    ShapeError,
    StaticnetError,
)
from staticnet.nn.utils import rnn

COMPILES = True
T, N, IN, H = 4, 3, 3, 4
RNG = np.random.default_rng(0)
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu"}),
    ("LSTM", {}),
    ("LSTM", {"proj_size": 2}),
    ("GRU", {}),
]
LAYOUTS = ("steps", "batch", "one", "lengths")
LENGTHS = [2, 4, 1]
# a kind's options, then: bias, layers, both directions, layout, first state given
OPTIONS = list(
    itertools.product(KINDS, (True, False), (1, 2), (False, True), LAYOUTS, (False, True))
)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is the oracle")


def pair(torch: Any, name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """PyTorch's layer in float64, and ours with its weights."""
    theirs = getattr(torch.nn, name)(*args, dtype=torch.double, **options)
    ours = getattr(nn, name)(*args, dtype="float64", **options)
    state = {k: v.detach().numpy() for k, v in theirs.state_dict().items()}
    assert ours.load_state_dict(state) == ([], [])
    return theirs, ours


class Case:
    """One choice of options: both layers, feeds, and the results of each library."""

    def __init__(self, torch: Any, option: Any) -> None:
        (self.name, own), bias, layers, both, layout, given = option
        self.torch, self.option, self.layout = torch, option, layout
        options = own | {"bias": bias, "num_layers": layers, "bidirectional": both}
        options["batch_first"] = layout == "batch"
        self.theirs, self.ours = pair(torch, self.name, IN, H, **options)
        shape = {"batch": (N, T, IN), "one": (T, IN)}.get(layout, (T, N, IN))
        rows = layers * (1 + both)
        sizes = [own.get("proj_size", H), H][: 1 + (self.name == "LSTM")]
        states = [(rows, H) if layout == "one" else (rows, N, H)] * len(sizes)
        states = [(*shape[:-1], size) for shape, size in zip(states, sizes, strict=True)]
        shapes = [shape, *states] if given else [shape]
        self.feeds = [RNG.normal(size=shape) for shape in shapes]

    def results(self, layer: Any, x: Any, *state: Any) -> list[Any]:
        """y and the parts of the state, by one library's layer."""
        hx = tuple(state) if self.name == "LSTM" and state else state[0] if state else None
        if self.layout != "lengths":
            y, after = layer(x, hx)
        elif layer is self.ours:
            y, after = layer(x, hx, lengths=LENGTHS)
        else:
            utils = self.torch.nn.utils.rnn
            packed = utils.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
            y, after = layer(packed, hx)
            y, _ = utils.pad_packed_sequence(y)
        return [y, *(after if isinstance(after, tuple) else (after,))]

    def wanted(self) -> list[Any]:
        """PyTorch's results and the gradients of a sum of their cubes."""
        leaves = [self.torch.tensor(x, requires_grad=True) for x in self.feeds]
        results = self.results(self.theirs, *leaves)
        total = sum((y**3).sum() for y in results)
        wrt = [*leaves, *self.theirs.parameters()]
        grads = self.torch.autograd.grad(total, wrt, create_graph=True)
        squares = sum((g**2).sum() for g in grads)
        second = self.torch.autograd.grad(squares, wrt)
        return [x.detach().numpy() for x in (*results, *grads, *second)]

    def placed(self, tag: str) -> list[Any]:
        return [sn.placeholder(x.shape, "float64", f"{tag}_{i}") for i, x in enumerate(self.feeds)]

    def graph(self, *leaves: Any, second: bool = False) -> list[Any]:
        """Our results and gradients, and second derivatives, as nodes."""
        results = self.results(self.ours, *leaves)
        wrt = [*leaves, *self.ours.parameters()]
        grads = sn.grad(sum((sn.sum(y**3) for y in results), sn.constant(0.0, "float64")), wrt)
        if not second:
            return [*results, *grads]
        squares = sum((sn.sum(g**2) for g in grads), sn.constant(0.0, "float64"))
        return [*results, *grads, *sn.grad(squares, wrt)]

    def dynamic(self) -> list[Any]:
        """Our results and gradients, run by definition."""
        leaves = [sn.dynamic.tensor(x, requires_grad=True) for x in self.feeds]
        results = self.results(self.ours, *leaves)
        first, *others = (sn.sum(y**3) for y in results)
        total = sum(others, first)
        grads = sn.dynamic.grad(total, [*leaves, *self.ours.parameters()])
        return [np.asarray(x) for x in (*results, *grads)]


def check(got: list[Any], wanted: list[Any], case: Case) -> None:
    for i, (a, b) in enumerate(zip(got, wanted, strict=False)):
        assert a.shape == b.shape, case.option
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, 1e-9, 1e-11 * scale, err_msg=f"{i} of {case.option}")


def sample(count: int, offset: int = 0) -> list[Any]:
    """So many of the options, spread over all."""
    order = np.random.default_rng(7).permutation(len(OPTIONS))
    return [OPTIONS[i] for i in order[offset : offset + count]]


def all_options(torch: Any, options: list[Any]) -> None:
    for option in options:
        case = Case(torch, option)
        check(case.dynamic(), case.wanted(), case)


def test_options_match_pytorch(torch: Any) -> None:
    all_options(torch, sample(40))


@pytest.mark.slow
def test_all_options_match_pytorch(torch: Any) -> None:
    all_options(torch, OPTIONS)


def compiled(torch: Any, options: list[Any], device: str, second: bool) -> None:
    """Many layers in one function, so that it is compiled once."""
    cases = [Case(torch, option) for option in options]
    nodes, outputs, counts = [], [], []
    for i, case in enumerate(cases):
        leaves = case.placed(f"x{i}")
        made = case.graph(*leaves, second=second)
        nodes += leaves
        outputs += made
        counts.append(len(made))
    got = iter(sn.function(nodes, outputs, device=device)(*(x for c in cases for x in c.feeds)))
    for case, count in zip(cases, counts, strict=True):
        check(list(itertools.islice(got, count)), case.wanted(), case)


def test_graphs_match_pytorch_to_the_second_order(torch: Any) -> None:
    compiled(torch, sample(2, 60), "numpy", second=True)


def test_the_cpu_matches_pytorch(torch: Any) -> None:
    compiled(torch, sample(3, 100), "cpu", second=False)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_many_graphs_match_pytorch_to_the_second_order(torch: Any, device: str, part: int) -> None:
    compiled(torch, sample(6, 110 + 6 * part), device, second=True)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_every_device(tmp_path: Path, kind: str) -> None:
    layer = getattr(nn, kind)(IN, H, dtype="float32", bidirectional=kind == "GRU", seed=1)
    x = RNG.normal(size=(T, N, IN)).astype(np.float32)
    build = everywhere.grad_of(lambda x: layer(x, lengths=LENGTHS)[0])
    wanted = everywhere.on("numpy", tmp_path, build, x)
    for device in ("cpu", "dynamic", "cuda"):
        got = everywhere.on(device, tmp_path, build, x)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, 2e-5, 1e-6, err_msg=device)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_match_pytorch(torch: Any, name: str, bias: bool) -> None:
    theirs, ours = pair(torch, name, IN, H, bias=bias)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    parts = 2 if name == "LSTMCell" else 1
    for batch, given in itertools.product([(), (N,), (0,)], [False, True]):
        x = RNG.normal(size=(*batch, IN))
        state = [RNG.normal(size=(*batch, H)) for _ in range(parts if given else 0)]
        hx = (
            tuple(map(torch.tensor, state))
            if parts == 2
            else torch.tensor(state[0] if given else 0)
        )
        wanted = theirs(torch.tensor(x), hx if given else None)
        mine = [sn.dynamic.tensor(s) for s in state]
        got = ours(sn.dynamic.tensor(x), (mine if parts == 2 else mine[0]) if given else None)
        both = zip(*((y,) if parts == 1 else y for y in (got, wanted)), strict=True)
        for a, b in both:
            np.testing.assert_allclose(np.asarray(a), b.detach().numpy(), 1e-12, 1e-14)


def test_a_cell_of_relu(torch: Any) -> None:
    theirs, ours = pair(torch, "RNNCell", IN, H, nonlinearity="relu")
    assert repr(ours) == repr(theirs)
    x = RNG.normal(size=(N, IN))
    got = ours(sn.dynamic.tensor(x)).numpy()
    np.testing.assert_allclose(got, theirs(torch.tensor(x)).detach().numpy(), 1e-12)


def test_names_shapes_and_repr_are_pytorchs(torch: Any) -> None:
    for (name, own), bias, layers, both, _, _ in OPTIONS[:: len(LAYOUTS) * 2]:
        options = own | {"bias": bias, "num_layers": layers, "bidirectional": both}
        theirs, ours = pair(torch, name, IN, H, **options)
        assert repr(ours) == repr(theirs)
        shapes = {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
        assert {k: v.shape for k, v in ours.state_dict().items()} == shapes
        assert list(ours.state_dict()) == list(shapes)
        assert [[w.shape for w in each] for each in ours.all_weights] == [
            [tuple(w.shape) for w in each] for each in theirs.all_weights
        ]
        theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})


def test_weights_start_uniform_and_differ() -> None:
    layer = nn.LSTM(20, 64, 2, bidirectional=True, seed=3)
    values = list(layer.state_dict().values())
    assert all(0.9 / 8 < np.abs(v).max() <= 1 / 8 for v in values)
    assert len({v.ravel()[0] for v in values}) == len(values)
    again = nn.LSTM(20, 64, 2, bidirectional=True, seed=3).state_dict()
    for a, b in zip(values, again.values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_symbolic_batch_and_length(torch: Any) -> None:
    theirs, ours = pair(torch, "LSTM", IN, H, bidirectional=True)
    x = sn.placeholder(("t", "n", IN), "float64")
    y, (h, c) = ours(x)
    f = sn.function(x, [y, h, c, *sn.grad(sn.sum(y * y), [x])], device="numpy")
    for steps, examples in [(5, 2), (1, 3), (3, 1), (2, 0)]:
        feed = RNG.normal(size=(steps, examples, IN))
        leaf = torch.tensor(feed, requires_grad=True)
        wanted, (last_h, last_c) = theirs(leaf)
        (grad,) = torch.autograd.grad((wanted * wanted).sum(), leaf)
        for a, b in zip(f(feed), (wanted, last_h, last_c, grad), strict=True):
            np.testing.assert_allclose(a, b.detach().numpy(), 1e-9, 1e-12)
    y, h, c, _ = f(np.zeros((0, 2, IN)))
    assert y.shape == (0, 2, 2 * H)
    assert not np.any([h, c])


def test_many_sequences_at_once_by_vmap() -> None:
    layer = nn.GRU(IN, H, dtype="float64", seed=1)
    x = RNG.normal(size=(N, T, IN))
    node = sn.placeholder(x.shape, "float64")
    mapped = sn.vmap(lambda each: layer(each)[0])(node)
    together, _ = layer(sn.swapaxes(node, 0, 1))
    one, other = sn.function(node, [mapped, sn.swapaxes(together, 0, 1)], device="numpy")(x)
    np.testing.assert_allclose(one, other, 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes_are_kept(dtype: str) -> None:
    layer = nn.LSTM(IN, H, 2, dtype=dtype, seed=1)
    x = sn.placeholder((T, N, IN), dtype)
    y, (h, c) = layer(x)
    assert {v.dtype.name for v in (y, h, c, *layer.parameters())} == {dtype}
    exact = nn.LSTM(IN, H, 2, dtype="float64")
    exact.load_state_dict(layer.state_dict())
    feed = RNG.normal(size=(T, N, IN)).astype(x.dtype)
    got = sn.function(x, y, device="numpy")(feed).astype(np.float64)
    wanted = exact(sn.dynamic.tensor(feed.astype(np.float64)))[0].numpy()
    error = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(got, wanted, error, error)


def test_dropout_is_between_layers_and_in_training_only(torch: Any, caplog: Any) -> None:
    layer = nn.LSTM(IN, H, 2, dropout=1.0, dtype="float64", seed=1)
    x = sn.placeholder((T, N, IN), "float64")
    other = sn.placeholder((T, N, IN), "float64")
    dropped, again = layer(x)[0], layer(other)[0]
    layer.eval()
    whole = layer(x)[0]
    feeds = RNG.normal(size=(T, N, IN)), RNG.normal(size=(T, N, IN))
    same = torch.nn.LSTM(IN, H, 2, dropout=1.0)
    assert repr(layer) == repr(same)
    assert list(layer.state_dict()) == list(same.state_dict())
    a, b, c = sn.function([x, other], [dropped, again, whole], device="numpy")(*feeds)
    np.testing.assert_array_equal(a, b)  # the second layer sees zeros, whatever x is
    assert not np.allclose(a, c)
    some = nn.GRU(IN, H, 2, dropout=0.5, dtype="float64", seed=1)
    y = some(x)[0]
    step = sn.function(x, [y, *sn.grad(sn.sum(y), [x])], device="numpy")
    assert all(np.isfinite(v).all() for v in step(feeds[0]))
    assert not caplog.records
    nn.LSTM(IN, H, dropout=0.5)
    assert "dropout is between layers" in caplog.text


def test_layers_are_copied_with_their_weights() -> None:
    layer = nn.LSTM(IN, H, bidirectional=True, seed=1)
    twin = copy.deepcopy(layer)
    assert twin.weight_ih_l0_reverse is not layer.weight_ih_l0_reverse
    np.testing.assert_array_equal(twin.weight_hh_l0.value, layer.weight_hh_l0.value)
    layer.flatten_parameters()


def test_sequences_of_several_lengths_match_pytorch(torch: Any) -> None:
    theirs = torch.nn.utils.rnn
    rows = [RNG.normal(size=(n, 2)) for n in (3, 1, 4)]
    tensors = [torch.tensor(row) for row in rows]
    for first, value, side in itertools.product((False, True), (0.0, -2.0), ("right", "left")):
        wanted = theirs.pad_sequence(tensors, first, value, side).numpy()
        got = sn.dynamic.as_tensor(
            rnn.pad_sequence([sn.dynamic.tensor(r) for r in rows], first, value, side)
        )
        np.testing.assert_array_equal(got.numpy(), wanted)
    padded = RNG.normal(size=(5, 3, 2))
    packed = theirs.pack_padded_sequence(torch.tensor(padded), [3, 1, 4], enforce_sorted=False)
    own = rnn.pack_padded_sequence(sn.dynamic.tensor(padded), [3, 1, 4])
    for first, value, total in [(False, 0.0, None), (True, 7.0, 6), (False, 1.0, 4)]:
        wanted, lengths = theirs.pad_packed_sequence(packed, first, value, total)
        got, own_lengths = rnn.pad_packed_sequence(own, first, value, total)
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())
        np.testing.assert_array_equal(np.asarray(own_lengths), lengths.numpy())
    for a, b in zip(rnn.unpack_sequence(own), theirs.unpack_sequence(packed), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    for a, b in zip(rnn.unpack_sequence(rnn.pack_sequence(rows)), rows, strict=True):
        np.testing.assert_array_equal(sn.function([], a, device="numpy")(), b)


def test_a_packed_sequence_goes_through_a_layer(torch: Any) -> None:
    theirs, ours = pair(torch, "GRU", IN, H, batch_first=True, bidirectional=True)
    x = RNG.normal(size=(N, T, IN))
    utils = torch.nn.utils.rnn
    packed = utils.pack_padded_sequence(torch.tensor(x), LENGTHS, True, enforce_sorted=False)
    wanted, wanted_h = theirs(packed)
    wanted, _ = utils.pad_packed_sequence(wanted, batch_first=True)
    node = sn.placeholder(x.shape, "float64")
    lengths = sn.placeholder((N,), "int64")
    y, h = ours(rnn.pack_padded_sequence(node, lengths, batch_first=True))
    y, _ = rnn.pad_packed_sequence(y, batch_first=True)
    got = sn.function([node, lengths], [y, h], device="numpy")(x, np.array(LENGTHS))
    np.testing.assert_allclose(got[0], wanted.detach().numpy(), 1e-10, 1e-12)
    np.testing.assert_allclose(got[1], wanted_h.detach().numpy(), 1e-10, 1e-12)


X = sn.placeholder((T, N, IN), name="x")
LAYER, LSTM = nn.RNN(IN, H), nn.LSTM(IN, H)
CELL, LSTM_CELL = nn.RNNCell(IN, H), nn.LSTMCell(IN, H)
WRONG: list[tuple[Any, type[StaticnetError], str]] = [
    (lambda: LAYER(sn.zeros((N, IN + 1))), ShapeError, r"RNN: the input \[3,4\] must be"),
    (lambda: LAYER(sn.zeros((T, N, 2, IN))), ShapeError, "RNN: the input"),
    (lambda: LAYER(sn.zeros((0, N, IN))), ShapeError, "RNN: the sequence has no steps"),
    (lambda: LAYER(X, sn.zeros((1, N + 1, H))), ShapeError, r"the state \[1,4,4\] must be"),
    (lambda: LAYER(X, (sn.zeros((1, N, H)),)), StaticnetError, "RNN"),
    (lambda: LSTM(X, sn.zeros((1, N, H))), ArgumentError, r"LSTM: .* pair \(h, c\)"),
    (lambda: LSTM(X, [sn.zeros((1, N, H))] * 3), ArgumentError, "pair"),
    (lambda: LAYER(sn.zeros((T, N, IN), "int64")), DTypeError, "RNN: .*floating"),
    (lambda: LAYER(X, lengths=[1, 2]), ShapeError, "one for each sequence"),
    (lambda: LAYER(X, lengths=[1.0, 2, 3]), DTypeError, "lengths must be integers"),
    (lambda: LAYER(X, lengths=[1, 2, 9]), OutOfRangeError, r"\[1, 4\]"),
    (lambda: LAYER(X, lengths=[0, 2, 3]), OutOfRangeError, r"\[1, 4\]"),
    (lambda: LAYER(sn.zeros((T, IN)), lengths=[1]), ArgumentError, "lengths are for a batch"),
    (
        lambda: LAYER(rnn.pack_padded_sequence(X, [1, 2, 3]), lengths=[1, 2, 3]),
        ArgumentError,
        "has lengths already",
    ),
    (lambda: CELL(sn.zeros((N, IN + 1))), ShapeError, "rnn_tanh_cell: the input"),
    (lambda: CELL(sn.zeros((N, IN)), sn.zeros((N, H + 1))), ShapeError, "the state"),
    (lambda: LSTM_CELL(sn.zeros((N, IN)), sn.zeros((N, H))), ArgumentError, "lstm_cell: .*pair"),
    (
        lambda: nn.functional.gru_cell(
            sn.zeros((N, IN)), sn.zeros((N, H)), sn.zeros((H, IN)), sn.zeros((H, H))
        ),
        ShapeError,
        r"w_hh must be \[3 \* h, h\]",
    ),
    (
        lambda: nn.functional.rnn_relu_cell(
            sn.zeros((N, IN)), sn.zeros((N, H)), sn.zeros((H, IN)), sn.zeros((H, H)), sn.zeros(2)
        ),
        ShapeError,
        "a bias must be",
    ),
    (lambda: nn.RNN(IN, H, nonlinearity="sin"), ArgumentError, "nonlinearity"),
    (lambda: nn.RNN(0, H), ArgumentError, "RNN: input_size"),
    (lambda: nn.GRU(IN, 2.5), ArgumentError, "GRU: hidden_size"),
    (lambda: nn.LSTM(IN, H, proj_size=H), ArgumentError, "proj_size must be an int >= 0 and below"),
    (lambda: nn.GRU(IN, H, proj_size=1), ArgumentError, "'proj_size'; there are input_size, "),
    (lambda: nn.LSTM(IN, H, 0), ArgumentError, "LSTM: num_layers"),
    (lambda: nn.LSTM(IN, H, dropout=1.5), ArgumentError, "LSTM: dropout"),
    (lambda: nn.LSTM(IN, H, bias=3), ArgumentError, "LSTM: bias"),
    (lambda: rnn.pad_sequence([]), ArgumentError, "one or more sequences"),
    (lambda: rnn.pad_sequence([sn.zeros((2, 3)), sn.zeros((2, 2))]), ShapeError, "the same s"),
    (lambda: rnn.pad_sequence([sn.placeholder(("t",))]), ShapeError, "symbolic"),
    (lambda: rnn.pad_sequence([sn.zeros(2)], padding_side="top"), ArgumentError, "padding_side"),
    (lambda: rnn.pad_packed_sequence(X), ArgumentError, "PackedSequence"),
    (
        lambda: rnn.pad_packed_sequence(rnn.pack_padded_sequence(X, [4, 1, 1]), total_length=3),
        ArgumentError,
        "total_length must be at least 4",
    ),
    (
        lambda: rnn.unpad_sequence(X, sn.placeholder((N,), "int64")),
        ArgumentError,
        "lengths are nodes",
    ),
    (lambda: rnn.unpack_sequence(X), ArgumentError, "PackedSequence"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_does_not_fit_is_told(number: int) -> None:
    call, error, message = WRONG[number]
    with pytest.raises(error, match=message):
        call()
