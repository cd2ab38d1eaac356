"""L-BFGS against PyTorch's in float64, run by run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import optim
from staticnet.errors import ArgumentError
from staticnet.io import safetensors

RNG = np.random.default_rng(0)
W, B = RNG.normal(size=(3, 2)), RNG.normal(size=2)
X, Y = RNG.normal(size=(9, 3)), RNG.normal(size=(9, 2))
OPTIONS: list[dict[str, Any]] = [
    {"lr": 0.5, "max_iter": 4},
    {"history_size": 3, "max_iter": 7},
    {"lr": 0.8, "max_iter": 20, "max_eval": 5, "tolerance_grad": 1e-2},
    {"line_search_fn": "strong_wolfe", "max_iter": 4},
    {"line_search_fn": "strong_wolfe", "lr": 0.01, "max_iter": 6, "max_eval": 9},
    {"line_search_fn": "strong_wolfe", "lr": 60.0, "max_iter": 3},
    {"line_search_fn": "strong_wolfe", "max_eval": 1, "max_iter": 3},
]


def loss_of(lib: Any, w: Any, b: Any, x: Any, y: Any) -> Any:
    return lib.mean((lib.tanh(x @ w + b) - y) ** 2) + 0.01 * lib.sum(w * w)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_follows_pytorch(options: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    w, b = sn.variable(W, "w"), sn.variable(B, "b")
    loss = loss_of(sn, w, b, sn.constant(X), sn.constant(Y))
    step = sn.function([], loss, updates=optim.LBFGS(**options).minimize(loss), device="numpy")
    tw, tb = (torch.tensor(v, requires_grad=True) for v in (W, B))
    optimizer = torch.optim.LBFGS([tw, tb], **options)

    def closure() -> Any:
        optimizer.zero_grad()
        found = loss_of(torch, tw, tb, torch.tensor(X), torch.tensor(Y))
        found.backward()
        return found

    for run in range(5):
        expected = optimizer.step(closure)
        np.testing.assert_allclose(step(), expected.item(), rtol=1e-9, err_msg=str(run))
        np.testing.assert_allclose(w.value, tw.detach().numpy(), rtol=1e-7, err_msg=str(run))
        np.testing.assert_allclose(b.value, tb.detach().numpy(), rtol=1e-7, err_msg=str(run))


def test_it_goes_on_from_its_state(tmp_path: Any) -> None:
    def made() -> Any:
        w = sn.variable(W, "w")
        loss = sn.sum(sn.cosh(w))
        updates = optim.LBFGS(0.5, max_iter=2, history_size=3).minimize(loss)
        return sn.function([], loss, updates=updates, device="numpy")

    whole, first, second = made(), made(), made()
    expected = [float(whole()) for _ in range(4)]
    first(), first()
    safetensors.save(tmp_path / "s.safetensors", first.state_dict())
    second.load_state_dict(safetensors.load(tmp_path / "s.safetensors"))
    assert [float(second()) for _ in range(2)] == expected[2:]
    assert expected[3] < expected[0]


def test_what_it_does_not_take() -> None:
    w = sn.variable(W, "w")
    with pytest.raises(ArgumentError, match="takes the loss, by minimize"):
        optim.LBFGS().apply({w: w})
    for options in ({"max_iter": 0}, {"lr": -1}, {"line_search_fn": "armijo"}):
        with pytest.raises(ArgumentError, match="LBFGS: "):
            optim.LBFGS(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", [(50.0, 20.0, 0.5), (300.0, 1.0, 1.0)])
def test_a_search_turns_back_from_where_there_is_no_loss(first: tuple[float, ...]) -> None:
    """A step beyond the domain of a logarithm gives NaN, which is no descent."""
    w = sn.variable(np.array(first), name=f"w{first[0]}")
    loss = sn.sum(w) - 5 * sn.sum(sn.log(w))
    updates = sn.optim.LBFGS(line_search_fn="strong_wolfe").minimize(loss, [w])
    step = sn.function([], loss, updates=updates, device="numpy")
    with np.errstate(invalid="ignore"):
        for _ in range(5):
            step()
    np.testing.assert_allclose(w.value, 5, rtol=1e-5)
