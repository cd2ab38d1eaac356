"""Parts in lists, dicts and containers: all that trains is found, named, saved and switched."""

from __future__ import annotations

from collections import OrderedDict, UserDict, UserList, deque
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError

COMPILES = True
NESTS: dict[str, tuple[Any, str]] = {
    "dict": (lambda part: {"a": part}, "parts.a"),
    "ordered dict": (lambda part: OrderedDict(a=part), "parts.a"),
    "read-only dict": (lambda part: MappingProxyType({"a": part}), "parts.a"),
    "user dict": (lambda part: UserDict(a=part), "parts.a"),
    "list": (lambda part: [part], "parts.0"),
    "tuple": (lambda part: (None, part), "parts.1"),
    "deque": (lambda part: deque([part]), "parts.0"),
    "user list": (lambda part: UserList([part]), "parts.0"),
    "dict of dicts": (lambda part: {"a": {"b": part}}, "parts.a.b"),
    "dict of lists": (lambda part: {"a": [1, "x", part]}, "parts.a.2"),
    "list of dicts": (lambda part: [{"a": (part,)}], "parts.0.a.0"),
}
CONTAINERS: dict[str, tuple[Any, str]] = {
    "ModuleList": (lambda part: nn.ModuleList([part]), "parts.0"),
    "ModuleDict": (lambda part: nn.ModuleDict({"a": part}), "parts.a"),
    "ModuleDict of pairs": (lambda part: nn.ModuleDict([("a", part)]), "parts.a"),
    "ModuleList in a dict": (lambda part: {"a": nn.ModuleList([part])}, "parts.a.0"),
}


class Holder(nn.Module):
    """A module that holds whatever it is given."""

    def __init__(self, parts: Any) -> None:
        self.parts = parts


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


@pytest.mark.parametrize(("nest", "name"), (NESTS | CONTAINERS).values(), ids=NESTS | CONTAINERS)
def test_modules_in_any_nesting_are_parts(nest: Any, name: str) -> None:
    linear = nn.Linear(2, 1)
    model = Holder(nest(linear))
    expected = [f"{name}.weight", f"{name}.bias"]
    assert names(model.named_parameters()) == expected
    assert list(model.state_dict()) == expected
    assert [v.name for v in model.parameters()] == expected
    assert linear in model.modules()
    assert not model.eval().train(False) or not linear.training
    model.requires_grad_(False)
    assert model.parameters() == []
    assert model.summary().parameters == 3
    state = {key: value + 1 for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    np.testing.assert_array_equal(linear.bias.value, state[f"{name}.bias"])


@pytest.mark.parametrize(("nest", "name"), NESTS.values(), ids=NESTS)
def test_variables_in_any_nesting_are_parts(nest: Any, name: str) -> None:
    model = Holder(nest(sn.variable(np.ones(3, "float32"))))
    assert names(model.named_parameters()) == [name]
    assert model.parameters()[0].name == name


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_what_trains_in_a_dict_is_saved_and_comes_back(device: str) -> None:
    def build() -> Any:
        model = Holder({"a": nn.Linear(2, 1), "b": [nn.Dropout(), nn.Linear(1, 1)]})
        x = sn.placeholder((4, 2), name="x")
        hidden = model.parts["b"][0](model.parts["a"](x))
        return model, x, sn.mean(sn.square(model.parts["b"][1](hidden) - 1))

    model, x, loss = build()
    data = np.arange(8, dtype="float32").reshape(4, 2) / 8
    step = sn.function(x, loss, updates=sn.optim.SGD(lr=0.1).minimize(loss), device=device)
    for _ in range(3):
        step(data)
    other, *_ = build()
    other.load_state_dict(model.state_dict())
    results = []
    for each in (model.eval(), other.eval()):
        y = each.parts["b"][1](each.parts["b"][0](each.parts["a"](x)))
        results.append(sn.function(x, y, device=device)(data))
    np.testing.assert_array_equal(*results)


def test_a_dict_trains_dynamically() -> None:
    model = Holder({"a": nn.Linear(2, 1)})
    before = model.state_dict()
    optimizer = sn.dynamic.Optimizer(sn.optim.SGD(lr=0.1), model.parameters())
    loss = sn.sum(model.parts["a"](sn.dynamic.tensor(np.ones((1, 2), "float32"))))
    loss.backward()
    optimizer.step()
    for name, value in model.state_dict().items():
        assert not np.array_equal(value, before[name])


def test_a_list_is_read_when_it_is_asked_for() -> None:
    model = Holder([])
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    model.parts.append(first)
    model.parts.append(second)
    assert names(model.named_parameters()) == ["parts.0.weight", "parts.1.weight"]
    assert [v.name for v in model.parameters()] == ["parts.0.weight", "parts.1.weight"]
    del model.parts[0]
    assert model.parameters() == [second.weight]
    model.parts[0] = first
    assert list(model.state_dict()) == ["parts.0.weight"]
    assert model.parameters() == [first.weight]


def test_a_dict_is_read_when_it_is_asked_for() -> None:
    model = Holder({})
    model.parts["a"] = nn.Dropout()
    assert not model.eval().parts["a"].training
    assert names(model.named_buffers()) == ["parts.a.counter"]
    del model.parts["a"]
    assert model.state_dict() == {}


def test_a_buffer_put_in_a_list_later_stays_a_buffer() -> None:
    model = Holder([sn.variable(1.0)])
    model.parts.insert(0, sn.variable(2.0, trainable=False))
    model.requires_grad_(False).requires_grad_()
    assert names(model.named_parameters()) == ["parts.1"]
    assert names(model.named_buffers()) == ["parts.0"]
    assert model.summary().parameters == 1


def test_a_weight_in_two_places_is_one_parameter_with_two_names() -> None:
    linear = nn.Linear(2, 2, bias=False)
    model = Holder({"a": linear, "b": [linear], "c": linear.weight})
    assert names(model.named_parameters()) == ["parts.c"]
    assert list(model.state_dict()) == ["parts.c", "parts.a.weight", "parts.b.0.weight"]
    assert names(model.named_modules()) == ["", "parts.a"]


@pytest.mark.parametrize("key", [3, ("a", "b"), None, "a.b", ""])
def test_a_key_that_is_no_name_is_refused(key: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Holder\.parts: the key .* is no name"):
        Holder({key: nn.Linear(1, 1)})
    model = Holder({})
    model.parts[key] = [sn.variable(1.0)]
    with pytest.raises(ArgumentError, match="parts: the key .* is no name"):
        model.parameters()
    with pytest.raises(ArgumentError, match="ModuleDict: the key .* is no name"):
        nn.ModuleDict({key: nn.ReLU()})


def test_dicts_without_parts_may_have_any_keys() -> None:
    assert Holder({3: "three", None: [1]}).parameters() == []


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_set_of_parts_is_refused(kind: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Holder\.parts: a set has no order"):
        Holder(kind([nn.Linear(1, 1)]))


def test_a_part_of_a_class_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"Shared\.inner: .* in __init__"):

        class Shared(nn.Module):
            inner = nn.Linear(1, 1)


def test_modules_and_containers_may_lead_back_to_themselves() -> None:
    root, child = Holder(nn.Linear(1, 1)), Holder([])
    root.child = child
    child.parent = root
    child.parts.append(child.parts)
    expected = ["parts.weight", "parts.bias"]
    assert names(root.named_parameters()) == expected
    assert list(root.state_dict()) == expected
    assert names(root.named_modules()) == ["", "parts", "child"]
    assert "..." in repr(root)


def test_a_module_list_has_the_methods_of_a_list() -> None:
    a, b, c, d = (nn.Linear(1, 1, bias=False) for _ in range(4))
    parts = nn.ModuleList([a]).append(c).extend([d])
    parts.insert(1, b)
    assert list(parts) == [a, b, c, d]
    assert parts.pop() is d
    assert parts.pop(0) is a
    parts[0] = d
    parts[1:] = [a, b]
    assert list(parts) == [d, a, b]
    del parts[0]
    assert list(parts + nn.ModuleList([c])) == [a, b, c]
    parts += [c]
    assert (len(parts), c in parts, d in parts) == (3, True, False)
    assert list(parts.state_dict()) == ["0.weight", "1.weight", "2.weight"]
    with pytest.raises(ArgumentError, match="ModuleList: 3 is not a Module"):
        parts.extend([d, 3])
    assert len(parts) == 3
    with pytest.raises(ArgumentError, match="ModuleList: takes a list of parts"):
        nn.ModuleList(3)  # type: ignore[arg-type]


def test_a_module_dict_has_the_methods_of_a_dict() -> None:
    a, b = nn.Linear(1, 1), nn.ReLU()
    parts = nn.ModuleDict({"keys": a})
    parts.update({"b": b})
    assert (list(parts), list(parts.values()), len(parts)) == (["keys", "b"], [a, b], 2)
    assert parts["b"] is b
    assert "keys" in parts
    assert list(parts.state_dict()) == ["keys.weight", "keys.bias"]
    assert parts.pop("keys") is a
    assert parts == parts
    assert parts != nn.ModuleDict({"b": b})
    assert {parts: 1}[parts] == 1
    with pytest.raises(ArgumentError, match="ModuleDict: 3 is not a Module"):
        parts["c"] = 3  # type: ignore[assignment]
    with pytest.raises(ArgumentError, match="ModuleDict: takes a dict of parts"):
        nn.ModuleDict(3)  # type: ignore[arg-type]


def test_parameter_containers_have_pytorchs_state_dict() -> None:
    torch = pytest.importorskip("torch")

    def keys(nn_: Any, wrap: Any) -> list[str]:
        class Model(nn_.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.rows = nn_.ParameterList([wrap(1.0), wrap(2.0)])
                self.named = nn_.ParameterDict({"left": wrap(3.0)})
                self.rows.append(wrap(4.0))
                self.named["right"] = wrap(5.0)
                self.inner = nn_.ModuleDict({"a": nn_.ModuleList([nn_.Linear(1, 1)])})

        return list(Model().state_dict())

    theirs = keys(torch.nn, lambda x: torch.nn.Parameter(torch.tensor(x)))
    assert sorted(keys(nn, sn.variable)) == sorted(theirs)


def test_parameter_containers_hold_variables_only() -> None:
    w = sn.variable(1.0)
    assert w in nn.ParameterList([w])
    assert w not in nn.ParameterList([sn.variable(1.0)])
    assert repr(nn.ParameterDict({"w": w})) == "ParameterDict((w): f32[])"
    for container in (nn.ParameterList([w]), nn.ParameterDict({"w": w})):
        assert container.parameters() == [w]
    with pytest.raises(ArgumentError, match=r"ParameterList: .* is not a Variable; make one with"):
        nn.ParameterList([np.ones(2)])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="ParameterDict: .* is not a Variable"):
        nn.ParameterDict({"a": nn.ReLU()})  # type: ignore[dict-item]


def test_a_container_of_the_users_own_keeps_its_attributes_too() -> None:
    class Heads(nn.ModuleDict):
        def __init__(self) -> None:
            super().__init__({"a": nn.ReLU()})
            self.shared = nn.Linear(1, 1)

    assert list(Heads().state_dict()) == ["shared.weight", "shared.bias"]
    assert names(Heads().named_modules()) == ["", "a", "shared"]


def test_a_sequential_changes_like_a_list() -> None:
    layers = [nn.ReLU(), nn.Tanh(), nn.Linear(2, 2)]
    model = nn.Sequential(layers[0]).extend(layers[1:])
    assert model.pop(0) is layers[0]
    assert model.insert(0, layers[0]) is model
    model[1] = nn.Sigmoid()
    del model[2]
    assert [type(layer).__name__ for layer in model] == ["ReLU", "Sigmoid"]


@pytest.mark.parametrize(
    "layers", [[nn.ReLU()], (nn.ReLU(),), {"a": nn.ReLU()}, nn.ModuleList([nn.ReLU()])]
)
def test_a_sequential_of_a_list_says_how(layers: Any) -> None:
    with pytest.raises(ArgumentError, match=r"one by one: Sequential\(\*layers\)"):
        nn.Sequential(layers)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.ModuleList(nn.ReLU(), nn.Tanh()), r"ModuleList: takes one list of parts"),
        (lambda: nn.ModuleDict([nn.ReLU()]), "ModuleDict: takes a dict of parts, or pairs"),
        (lambda: nn.ModuleDict(["ab", 3]), "ModuleDict: takes a dict of parts, or pairs"),
        (lambda: nn.Sequential(nn.ReLU), r"ReLU.* is not a Module; make one with ReLU\("),
    ],
)
def test_parts_that_are_handed_over_in_another_way_say_how(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
