"""Modules: how parts are found, named, shared, saved, loaded, frozen and printed."""

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, StateError, StaticnetError
from staticnet.nn import module, parts


class Block(nn.Module):
    """A linear layer and a scale, beside a counter that does not train."""

    def __init__(self, size):
        self.inner = nn.Linear(size, size)
        self.scale = sn.variable(np.ones(size, "float32"))
        self.steps = sn.variable(np.int64(0), trainable=False)

    def forward(self, x):
        return self.inner(x) * self.scale


class Tied(nn.Module):
    """Two names for one weight, and one module in two places."""

    def __init__(self):
        self.encoder = nn.Linear(3, 3, bias=False)
        self.decoder = nn.Linear(3, 3, bias=False)
        self.decoder.weight = self.encoder.weight
        self.again = self.encoder

    def forward(self, x):
        return self.decoder(self.again(self.encoder(x)))


def names(pairs):
    return [name for name, _ in pairs]


def run(module, x):
    node = sn.placeholder(x.shape, str(x.dtype))
    return sn.function([node], module(node))(x)


def test_names_are_dotted_paths_in_order_of_attachment():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), Block(3))
    assert names(model.named_parameters()) == [
        "0.weight",
        "0.bias",
        "2.scale",
        "2.inner.weight",
        "2.inner.bias",
    ]
    assert names(model.named_buffers()) == ["2.steps"]
    assert [v.name for v in model.parameters()] == names(model.named_parameters())
    assert list(model.state_dict()) == [
        "0.weight",
        "0.bias",
        "2.scale",
        "2.steps",
        "2.inner.weight",
        "2.inner.bias",
    ]


def test_names_grow_as_modules_are_attached():
    linear = nn.Linear(2, 2)
    assert linear.weight.name == "weight"
    outer, middle = nn.Module(), nn.Module()
    outer.first = middle
    middle.fc = linear  # attached below a module that has its place already
    assert linear.weight.name == "first.fc.weight"
    root = nn.Module()
    root.net = outer
    assert linear.weight.name == "net.first.fc.weight"


def test_a_name_given_by_the_user_stays():
    module = nn.Module()
    module.w = sn.variable(np.zeros(2), name="kernel")
    root = nn.Module()
    root.inner = module
    assert module.w.name == "kernel"
    assert names(root.named_parameters()) == ["inner.w"]


def test_lists_and_tuples_of_parts_are_found():
    module = nn.Module()
    module.blocks = [nn.Linear(1, 1, bias=False), (sn.variable(1.0), "no part")]
    assert names(module.named_parameters()) == ["blocks.1.0", "blocks.0.weight"]
    assert module.blocks[0].weight.name == "blocks.0.weight"


def test_shared_parts_count_once_and_keep_their_first_name():
    model = Tied()
    assert names(model.named_parameters()) == ["encoder.weight"]
    assert model.encoder.weight.name == "encoder.weight"
    assert list(model.state_dict()) == ["encoder.weight", "decoder.weight", "again.weight"]
    assert names(model.named_modules()) == ["", "encoder", "decoder"]
    wrapped = nn.Sequential(model)
    assert wrapped.parameters() == [model.encoder.weight]
    assert model.encoder.weight.name == "0.encoder.weight"
    assert wrapped.summary().parameters == 9


def test_the_gradient_of_shared_weights_is_one_sum():
    model, x = Tied(), sn.placeholder((3,))
    loss = sn.sum(model(x))
    (gradient,) = sn.function([x], sn.grad(loss, model.parameters()))(np.ones(3, "float32"))
    w = model.encoder.weight.value.astype("float64")
    delta, total = np.ones(3), np.zeros((3, 3))
    activations = [np.ones(3), w @ np.ones(3), w @ w @ np.ones(3)]
    for activation in activations[::-1]:
        total += np.outer(delta, activation)
        delta = w.T @ delta
    np.testing.assert_allclose(gradient, total, rtol=1e-5)


def test_replacing_a_part_forgets_the_old_one():
    block = Block(2)
    block.steps = sn.variable(np.float32(0))
    assert "steps" in names(block.named_parameters())
    del block.inner
    assert names(block.named_parameters()) == ["scale", "steps"]


def test_state_dict_round_trip():
    source, target = (nn.Sequential(nn.Linear(3, 4), Block(4)) for _ in range(2))
    source[1].steps.value = 7
    x = np.ones((2, 3), "float32")
    assert not np.allclose(run(source, x), run(target, x))
    state = source.state_dict()
    assert target.load_state_dict(state) == ([], [])
    np.testing.assert_array_equal(run(source, x), run(target, x))
    assert target[1].steps.value == 7


def test_state_dict_is_a_copy_both_ways():
    linear = nn.Linear(2, 2)
    state = linear.state_dict()
    before = state["weight"].copy()
    state["weight"][:] = 5
    np.testing.assert_array_equal(linear.weight.value, before)
    linear.load_state_dict(state)
    state["weight"][:] = 6
    np.testing.assert_array_equal(linear.weight.value, np.full((2, 2), 5))


BAD_STATES = {
    "missing": (lambda s: s.pop("bias"), "missing: bias"),
    "unexpected": (lambda s: s.update(extra=np.zeros(1)), "unexpected: extra"),
    "shape": (lambda s: s.update(bias=np.zeros(3, "float32")), r"mismatched: bias.*\[3\]"),
    "dtype": (lambda s: s.update(bias=np.zeros(2, "complex64")), "mismatched: bias.*complex64"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_STATES.values(), ids=BAD_STATES)
def test_a_state_that_does_not_fit_changes_nothing(spoil, message):
    linear = nn.Linear(2, 2)
    before = linear.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    spoil(state)
    with pytest.raises(StateError, match="load_state_dict: Linear .*" + message):
        linear.load_state_dict(state)
    for name, array in linear.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_float_does_not_load_into_an_integer():
    block = Block(2)
    state = block.state_dict() | {"steps": np.float32(1.5)}
    with pytest.raises(StateError, match="mismatched: steps.*float32"):
        block.load_state_dict(state)


def test_all_problems_are_listed_at_once():
    with pytest.raises(StateError, match="missing: weight.*unexpected: other.*mismatched: bias"):
        nn.Linear(2, 2).load_state_dict({"bias": np.zeros(9), "other": 1})


def test_load_without_strict_takes_what_there_is():
    linear = nn.Linear(2, 2)
    weight = linear.weight.value
    result = linear.load_state_dict({"bias": np.zeros(2), "other": np.zeros(1)}, strict=False)
    assert result.missing_keys == ["weight"]
    assert result.unexpected_keys == ["other"]
    np.testing.assert_array_equal(linear.bias.value, 0)
    np.testing.assert_array_equal(linear.weight.value, weight)
    with pytest.raises(StateError, match="mismatched"):
        linear.load_state_dict({"bias": np.zeros(3)}, strict=False)


def test_train_and_eval_reach_every_module():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert all(m.training for m in model.modules())
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train()[1][0].training
    assert model.train(False).training is False
    with pytest.raises(ArgumentError, match="train: the mode"):
        model.train("yes")


def test_freezing_leaves_buffers_alone():
    block = Block(2)
    assert block.requires_grad_(False) is block
    assert block.parameters() == []
    assert names(block.named_buffers()) == ["scale", "steps", "inner.weight", "inner.bias"]
    assert block.summary().parameters == 8
    assert block.summary().trainable == 0
    block.requires_grad_()
    assert names(block.named_parameters()) == ["scale", "inner.weight", "inner.bias"]
    assert names(block.named_buffers()) == ["steps"]


def test_summary_is_a_table():
    model = nn.Sequential(nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10, bias=False))
    model[2].requires_grad_(False)
    summary = model.summary()
    assert str(summary).splitlines() == [
        "Name   Type        Parameters  Trainable   Bytes",
        "------------------------------------------------",
        "0      Linear          12,560     12,560  50,240",
        "1      ReLU                 0          0       0",
        "2      Linear             160          0     640",
        "------------------------------------------------",
        "total  Sequential      12,720     12,560  50,880",
    ]
    assert repr(summary) == str(summary)
    assert (summary.parameters, summary.trainable, summary.bytes) == (12720, 12560, 50880)


def test_summary_of_one_layer_counts_buffers_as_bytes_only():
    row = nn.Dropout().summary().rows[0]
    assert row == ("", "Dropout", 0, 0, 8)
    assert "(self)" in str(nn.Dropout().summary())


def test_repr_nests():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.LeakyReLU()))
    assert repr(model).splitlines() == [
        "Sequential(",
        "  (0): Linear(in_features=2, out_features=3, bias=False)",
        "  (1): Sequential(",
        "    (0): LeakyReLU(negative_slope=0.01)",
        "  )",
        ")",
    ]


def test_repr_shows_arguments_beside_children():
    class Named(Block):
        def extra_repr(self):
            return "size=2"

    assert repr(Named(2)) == (
        "Named(\n  size=2\n  (inner): Linear(in_features=2, out_features=2, bias=True)\n)"
    )


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(1)


def test_containers_index_slice_and_iterate():
    layers = [nn.ReLU(), nn.Tanh(), nn.Linear(2, 2)]
    for container in (nn.Sequential(*layers), nn.ModuleList(layers)):
        assert len(container) == 3
        assert list(container) == layers
        assert container[1] is layers[1]
        assert container[-1] is layers[2]
        assert isinstance(container[1:], type(container))
        assert list(container[1:]) == layers[1:]
        assert container.append(nn.Identity()) is container
        assert len(container) == 4
        with pytest.raises(IndexError):
            container[4]
        with pytest.raises(ArgumentError, match="is not a Module"):
            container.append(nn.relu)
    assert layers[2].weight.name == "2.weight"


def test_module_list_names_are_numbers():
    model = nn.Module()
    model.blocks = nn.ModuleList([nn.Linear(1, 1, bias=False)])
    model.blocks.append(nn.Linear(1, 1, bias=False))
    assert [v.name for v in model.parameters()] == ["blocks.0.weight", "blocks.1.weight"]


def test_sequential_applies_in_order():
    x = np.array([[-2.0, 3.0]], "float32")
    assert run(nn.Sequential(), x).tolist() == x.tolist()
    np.testing.assert_allclose(run(nn.Sequential(nn.ReLU(), nn.Tanh()), x), np.tanh([[0, 3.0]]))


def test_a_model_learns_exclusive_or():
    nn.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    x, y = sn.placeholder(("batch", 2)), sn.placeholder(("batch",), "int64")
    loss = nn.cross_entropy(model(x), y)
    weights = model.parameters()
    gradients = sn.grad(loss, weights)
    updates = {w: w - 0.5 * g for w, g in zip(weights, gradients, strict=True)}
    step = sn.function([x, y], loss, updates=updates)
    xs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    ys = np.array([0, 1, 1, 0])
    losses = [float(step(xs, ys)) for _ in range(300)]
    assert losses[0] > 0.5
    assert losses[-1] < 0.05
    np.testing.assert_array_equal(run(model, xs).argmax(1), ys)


class Sized(nn.Module):
    """A property that reads what is not there."""

    @property
    def size(self):
        return self.missing


def test_an_error_in_a_property_comes_out():
    with pytest.raises(AttributeError, match="the module Sized has no 'missing'"):
        Sized().size  # noqa: B018
    with pytest.raises(AttributeError, match="has no ''"):
        getattr(Sized(), "")
    with pytest.raises(StaticnetError, match="no attribute '_hidden'"):
        Sized()._hidden  # noqa: B018


def test_a_list_of_numbers_is_looked_at_once_and_not_walked(monkeypatch):
    walked = []
    model = nn.Linear(2, 2)
    model.history = list(range(1000))
    model.nested = [[1, 2], [sn.variable(1.0)]]
    walk = parts.parts
    for where in (parts, module):
        monkeypatch.setattr(where, "parts", lambda *args: walked.append(args) or walk(*args))
    assert [name for name, _ in model.named_parameters()] == ["weight", "bias", "nested.1.0"]
    assert not [name for name, x, *_ in walked if isinstance(x, int) and "." in name]
