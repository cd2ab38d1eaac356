"""What users of PyTorch type first: the error names what is here instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import dynamic, nn, optim
from staticnet.errors import ExecutionError, MissingNameError, StaticnetError

COMPILES = True
X = sn.placeholder((4, 3), name="x")
V = sn.variable(np.ones(3, "float32"), "v")
UNUSED = sn.variable(np.ones(2, "float32"), "unused")
NET = nn.Linear(3, 2)
LOSS = sn.sum(sn.square(NET(X)))
PARAMETERS = NET.parameters()
DATA = np.ones((4, 3), "float32")

NAMES: dict[str, tuple[Callable[[], Any], str]] = {
    "layer's case": (lambda: nn.Relu, r"staticnet\.nn has no 'Relu'; did you mean ReLU\?"),
    "layer's spelling": (lambda: nn.Liner, r"did you mean Linear\?"),
    "function's spelling": (lambda: nn.crossentropy, r"did you mean cross_entropy\?"),
    "rule's case": (lambda: optim.adamw, r"did you mean AdamW\?"),
    "schedules": (lambda: optim.lr_scheduler, r"sn\.optim\.StepLR"),
    "Parameter": (lambda: nn.Parameter, r"sn\.variable"),
    "cat": (lambda: sn.cat, r"use sn\.concat"),
    "tensor": (lambda: sn.tensor, r"sn\.dynamic\.tensor"),
    "no_grad": (lambda: sn.no_grad, r"sn\.dynamic\.no_grad"),
    "softmax": (lambda: sn.softmax, r"sn\.nn\.softmax"),
    "Adam": (lambda: sn.Adam, r"sn\.optim\.Adam"),
    "manual_sed": (lambda: sn.manual_sed, r"did you mean manual_seed\?"),
    "unheard of": (lambda: nn.Zyxwv, r"staticnet\.nn has no 'Zyxwv'$"),
    "method": (lambda: X.exp(), r"the Node x: f32\[4,3\] has no 'exp'; use sn\.exp\(x\)"),
    "view": (lambda: X.view(12), r"use sn\.reshape"),
    "backward": (lambda: LOSS.backward(), r"use sn\.grad\(loss, variables\)"),
    "node's value": (lambda: X.item(), r"no value until sn\.function runs"),
    "variable's value": (lambda: V.numpy(), r"its \.value is an array"),
    "module.cuda": (lambda: NET.cuda(), r"sn\.function\(\.\.\., device=\)"),
    "zero_grad": (lambda: NET.zero_grad(), r"sn\.dynamic\.Optimizer has zero_grad"),
    "attribute": (lambda: NET.weigth, r"the module Linear has no 'weigth'; did you mean weight\?"),
    "initialiser": (lambda: nn.init.xavier_uniform_, r"did you mean xavier_uniform\?"),
    "dynamic": (lambda: dynamic.tensr, r"did you mean tensor\?"),
    "step": (lambda: optim.Adam().step(), r"sn\.dynamic\.Optimizer\(rule, parameters\)"),
}


@pytest.mark.parametrize(("act", "message"), NAMES.values(), ids=NAMES)
def test_a_name_that_is_not_there_names_what_is(act: Any, message: str) -> None:
    with pytest.raises(MissingNameError, match=message):
        act()
    with pytest.raises(AttributeError):
        act()


def test_names_of_python_are_simply_missing() -> None:
    for thing in (sn, nn, optim, X, V, NET, optim.Adam()):
        assert not hasattr(thing, "__wrapped__")
        assert not hasattr(thing, "_nothing")
    assert getattr(NET, "nothing", 3) == 3


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "dim": (lambda: sn.sum(X, dim=1), "sum: there is no argument 'dim'; it is called axis"),
    "keepdim": (lambda: sn.mean(X, axis=1, keepdim=True), "it is called keepdims"),
    "layer's axis": (lambda: nn.Softmax(axes=1), "Softmax: .* 'axes'; it is called axis"),
    "inplace": (lambda: sn.relu(X, inplace=True), "relu: .*'inplace'; leave it out: no value"),
    "spelling": (lambda: sn.sum(X, axes=1), "it is called axis"),
    "no such": (lambda: sn.exp(X, out=3), "exp: there is no argument 'out'; there are x"),
    "too few": (lambda: sn.add(X), "add: missing a required argument"),
    "parameters": (lambda: optim.Adam(PARAMETERS, lr=0.1), r"Adam\(lr=\.\.\.\)\.minimize\(loss"),
    "parameters alone": (lambda: optim.SGD(PARAMETERS), r"SGD: a rule holds no parameters"),
    "params": (lambda: optim.SGD(params=PARAMETERS, lr=0.1), r"a rule holds no parameters"),
    "iterator": (lambda: optim.SGD(iter(PARAMETERS), lr=0.1), r"a rule holds no parameters"),
    "model": (lambda: optim.SGD(NET, lr=0.1), r"a rule holds no parameters"),
    "option": (lambda: optim.Adam(weight_decy=0.1), "it is called weight_decay"),
    "unused": (
        lambda: optim.Adam().minimize(LOSS, [*PARAMETERS, UNUSED]),
        r"minimize: the loss sum f32\[\] does not depend on unused f32\[2\] .*; leave it out",
    ),
    "unused scaled": (
        lambda: optim.LossScaling(optim.Adam()).minimize(LOSS, [UNUSED]),
        "does not depend on unused",
    ),
    "minimize a model": (lambda: optim.SGD().minimize(LOSS, NET), r"model\.parameters\(\)"),
    "grad of a model": (lambda: sn.grad(LOSS, NET), "expected graph nodes"),
    "dynamic order": (
        lambda: dynamic.Optimizer(PARAMETERS, lr=0.1),
        "neither a rule nor a function",
    ),
    "dynamic class": (
        lambda: dynamic.Optimizer(optim.Adam, PARAMETERS),
        "neither a rule nor a function",
    ),
    "asarray": (lambda: np.asarray(V), r"v f32\[3\] .* is its \.value"),
    "float": (lambda: float(sn.variable(1.0)), r"is its \.value"),
    "dict of feeds": (lambda: sn.function(X, X)({"x": DATA}), r"f\(\*\*feeds\)"),
    "path": (lambda: NET.load_state_dict("a.pt"), r"safetensors\.load\(path\)"),
    "swapped": (lambda: sn.function(lambda x: x, X), "an input must be a graph node"),
}


@pytest.mark.parametrize(("act", "message"), CALLS.values(), ids=CALLS)
def test_a_call_that_does_not_fit_says_what_does(act: Any, message: str) -> None:
    with pytest.raises(StaticnetError, match=message) as caught:
        act()
    assert "allow_unused" not in str(caught.value)


@pytest.mark.parametrize("value", [X, V, X + 1], ids=["placeholder", "variable", "node"])
def test_elements_of_values_are_not_set(value: Any) -> None:
    with pytest.raises(StaticnetError, match=r"setitem: .* sn\.where\(mask, new, x\)"):
        value[0] = 1


def test_a_label_of_a_tensor_is_called_a_label() -> None:
    with pytest.raises(IndexError, match="a label of cross_entropy"):
        nn.cross_entropy(dynamic.tensor(DATA), np.array([7, 0, 1, 2]))


def test_an_error_of_the_users_own_stays_as_it_is() -> None:
    class Broken(nn.Module):
        def __init__(self, size: int) -> None:
            raise TypeError("the user's own")

    with pytest.raises(TypeError, match="the user's own"):
        Broken(size=3)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("label", [7, -1])
def test_a_label_that_is_no_class_is_called_a_label(device: str, label: int) -> None:
    labels = sn.placeholder((4,), "int64", "labels")
    f = sn.function([X, labels], nn.cross_entropy(X, labels), device=device)
    with pytest.raises(ExecutionError, match="a label of cross_entropy or nll_loss") as caught:
        f(DATA, np.array([label, 0, 1, 2]))
    assert "algebraic_simplify" not in str(caught.value)
    assert "test_messages.py" in str(caught.value)


def test_what_is_to_be_installed_comes_from_the_clone() -> None:
    from staticnet.cli.extras import require
    from staticnet.cli.machine import extras

    remedies = [check.remedy for check in extras() if check.remedy]
    with pytest.raises(ImportError, match="nothing_like_it not found") as caught:
        require("nothing_like_it", extra="examples")
    for text in (*remedies, str(caught.value)):
        assert 'pip install -e ".[' in text
        assert '"staticnet[' not in text


W = sn.variable(np.ones((3, 2), "float32"), "w")


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: sn.placeholder("x", (3, 4)), r"placeholder\(\(3, 4\), name='x'\)"),
        (lambda: sn.placeholder("x", "float32", (3, 4)), "the shape comes first"),
        (lambda: sn.variable("w", np.ones(3)), "the value comes first"),
        (lambda: sn.function(X @ W, [X]), "inputs come first"),
        (lambda: sn.function(X, X @ W, W), "what minimize gives"),
        (lambda: sn.function(X, X @ W, updates=X @ W), "what minimize gives"),
        (lambda: sn.function(X, X @ W, updates=[W]), "what minimize gives"),
        (lambda: sn.function(X, X @ W, updates=[(W, W, W)]), "what minimize gives"),
        (lambda: sn.function(X, X @ W, updates="w"), "what minimize gives"),
        (lambda: sn.function(X, X @ W, updates=3), "what minimize gives"),
        (lambda: sn.optim.SGD(0.1).minimize([W], sn.mean(X @ W)), "it comes first"),
        (lambda: sn.nn.Conv2d(3, 4), r"Conv2d: missing a required argument: 'kernel_size'"),
        (lambda: sn.nn.Linear(3, 4, True, None, None), "Linear: too many positional"),
    ],
)
def test_arguments_in_another_order_say_theirs(call, remedy):
    with pytest.raises(sn.errors.StaticnetError, match=remedy):
        call()
