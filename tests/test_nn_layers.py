"""Layers: those of functions against PyTorch's modules, and those with state."""

import math

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, DTypeError, ExecutionError

rng = np.random.default_rng(0)
X = rng.normal(0, 2, (4, 3, 2))
LABELS = rng.integers(0, 3, (4, 2))
SIGNS = np.where(X > 0.3, 1.0, -1.0)
WEIGHT = np.array([0.5, 1.0, 2.0])


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is the oracle")


def compute(f, *arrays):
    nodes = [sn.placeholder(a.shape, str(a.dtype)) for a in arrays]
    return sn.function(nodes, f(*nodes))(*arrays)


# (name, positional arguments, keyword arguments), PyTorch's and ours
ACTIVATIONS = [
    ("ReLU", (), {}),
    ("LeakyReLU", (0.2,), {}),
    ("ELU", (0.7,), {}),
    ("SELU", (), {}),
    ("GELU", (), {"approximate": "tanh"}),
    ("SiLU", (), {}),
    ("Softplus", (2.0, 1.0), {}),
    ("Sigmoid", (), {}),
    ("Tanh", (), {}),
    ("Softmax", (1,), {}),
    ("LogSoftmax", (0,), {}),
    ("Hardtanh", (-0.5, 2.0), {}),
    ("Mish", (), {}),
    ("Flatten", (), {}),
    ("Flatten", (0, 1), {}),
    ("Identity", (), {}),
]
LOSSES = [
    ("MSELoss", X[::-1], {"reduction": "sum"}),
    ("L1Loss", X[::-1], {}),
    ("HuberLoss", X[::-1], {"delta": 0.3}),
    ("HingeEmbeddingLoss", SIGNS, {"margin": 2.0}),
    ("BCEWithLogitsLoss", (SIGNS + 1) / 2, {"pos_weight": WEIGHT[:2]}),
    ("KLDivLoss", np.abs(X), {"reduction": "batchmean"}),
    ("NLLLoss", LABELS, {"weight": WEIGHT, "ignore_index": 1}),
    ("CrossEntropyLoss", LABELS, {"label_smoothing": 0.2, "reduction": "none"}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), ACTIVATIONS)
def test_activation_layers_match_pytorch(torch, name, args, kwargs):
    wanted = getattr(torch.nn, name)(*args, **kwargs)(torch.tensor(X)).numpy()
    got = compute(getattr(nn, name)(*args, **kwargs), X)
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "target", "options"), LOSSES)
def test_loss_layers_match_pytorch(torch, name, target, options):
    tensors = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    target = np.ascontiguousarray(target)
    wanted = getattr(torch.nn, name)(**tensors)(torch.tensor(X), torch.tensor(target)).numpy()
    got = compute(getattr(nn, name)(**options), X, target)
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


def test_hinge_loss_layer():
    got = compute(nn.HingeLoss(margin=0.5), X, SIGNS)
    np.testing.assert_allclose(got, np.maximum(0, 0.5 - SIGNS * X).mean(), rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Softplus", "Tanh", "Mish"]
)
def test_defaults_and_repr_are_pytorchs(torch, name):
    assert repr(getattr(nn, name)()) == repr(getattr(torch.nn, name)())
    wanted = getattr(torch.nn, name)()(torch.tensor(X)).numpy()
    np.testing.assert_allclose(compute(getattr(nn, name)(), X), wanted, rtol=1e-10, atol=1e-12)


WEIGHTED = (
    *("CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "MultiMarginLoss"),
    "MultiLabelSoftMarginLoss",
)


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_losses_are_state(torch, name):
    weight = np.array([1.0, 2.0, 0.5])
    theirs = getattr(torch.nn, name)(weight=torch.tensor(weight))
    state = {f"0.{k}": v + 1 for k, v in theirs.state_dict().items()}
    ours = nn.Sequential(getattr(nn, name)(weight=weight))
    ours.load_state_dict(state)
    assert list(ours.state_dict()) == list(state)
    assert not ours.parameters()
    labels = name in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
    x = np.random.default_rng(3).uniform(0.1, 0.9, (4, 3))
    target = np.array([0, 2, 1, 1]) if labels else (x > 0.5).astype("float64")
    theirs.load_state_dict({k[2:]: v for k, v in state.items()})
    wanted = theirs(input=torch.tensor(x), target=torch.tensor(target)).item()
    got = ours[0](input=sn.dynamic.tensor(x), target=sn.dynamic.tensor(target))
    assert got.item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("kind", ["int64", "int8", "bool", "uint8"])
@pytest.mark.parametrize(
    "name", ["margin_ranking_loss", "soft_margin_loss", "multilabel_soft_margin_loss",
             "hinge_embedding_loss", "cosine_embedding_loss"],
)  # fmt: skip
def test_signs_may_be_integers(torch, name, kind):
    x = [np.random.default_rng(i).normal(size=(4, 3)) for i in range(2)]
    unsigned = kind in ("bool", "uint8")
    target = np.array([[1, 0, 1]] * 4 if unsigned else [[1, -1, 1]] * 4).astype(kind)
    operands = x if name in ("margin_ranking_loss", "cosine_embedding_loss") else x[:1]
    target = target[:, 0] if name == "cosine_embedding_loss" else target
    f = getattr(torch.nn.functional, name)
    wanted = f(*map(torch.tensor, operands), torch.tensor(target.astype("float64"))).item()
    got = getattr(nn.functional, name)(*map(sn.dynamic.tensor, operands), target)
    assert got.item() == pytest.approx(wanted, rel=1e-12)


def test_inputs_may_be_named_as_pytorchs(torch):
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    for name, args in (
        ("Linear", (6, 2)), ("Conv1d", (4, 2, 3)), ("BatchNorm1d", (4,)), ("ReLU", ()),
        ("MaxPool1d", (2,)), ("LayerNorm", (6,)), ("Identity", ()), ("Softmax2d", ()),
        ("ZeroPad1d", (1,)), ("Unflatten", (1, (2, 2))),
    ):  # fmt: skip
        ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
        ours.load_state_dict(theirs.state_dict())
        got = ours(input=sn.dynamic.tensor(x)).numpy()
        np.testing.assert_allclose(got, theirs(torch.tensor(x)).detach(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match="CrossEntropyLoss: reduction is set when"):
        nn.CrossEntropyLoss()(input=x, target=x, reduction="sum")


def test_layers_of_functions_refuse_unknown_arguments():
    with pytest.raises(TypeError, match="slope"):
        nn.LeakyReLU(slope=0.1)
    assert nn.ReLU() != nn.ReLU()
    assert nn.CrossEntropyLoss(weight=WEIGHT).extra_repr() == (
        "ignore_index=-100, reduction='mean', label_smoothing=0.0"
    )


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_pytorchs(torch, bias):
    ours, theirs = nn.Linear(6, 4, bias, "float64"), torch.nn.Linear(6, 4, bias, dtype=torch.double)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    x = rng.normal(size=(2, 3, 6))
    np.testing.assert_allclose(compute(ours, x), theirs(torch.tensor(x)).detach().numpy())
    assert repr(ours) == repr(theirs)
    assert (ours.bias is None) == (not bias)


def test_linear_starts_uniform_within_its_bound():
    layer = nn.Linear(100, 300, seed=1)
    for values in (layer.weight.value, layer.bias.value):
        assert 0.098 < np.abs(values).max() <= 0.1
        assert abs(values.std() - 0.1 / math.sqrt(3)) < 0.004
        assert abs(values.mean()) < 0.01


def test_layers_are_reproducible():
    def weights():
        nn.manual_seed(4)
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Embedding(3, 3))
        return list(model.state_dict().values())

    first, second = weights(), weights()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], first[2])
    one, two = nn.Linear(3, 3, seed=9), nn.Linear(3, 3, seed=9)
    np.testing.assert_array_equal(one.weight.value, two.weight.value)
    assert not np.array_equal(one.weight.value[0], one.bias.value)


def test_a_bias_does_not_shift_the_layers_after_it():
    def second_weight(bias):
        nn.manual_seed(4)
        return [nn.Linear(3, 3, bias), nn.Linear(3, 3)][1].weight.value

    np.testing.assert_array_equal(second_weight(True), second_weight(False))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_of_layers(dtype):
    assert {v.dtype.name for v in nn.Linear(2, 2, dtype=dtype).parameters()} == {dtype}
    assert nn.Embedding(2, 2, dtype=dtype).weight.dtype == dtype


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3"])
def test_sizes_must_be_positive_ints(size):
    with pytest.raises(ArgumentError, match="Linear: in_features must be"):
        nn.Linear(size, 2)
    with pytest.raises(ArgumentError, match="Linear: out_features must be"):
        nn.Linear(2, size)
    with pytest.raises(ArgumentError, match="Embedding: num_embeddings must be"):
        nn.Embedding(size, 2)
    with pytest.raises(ArgumentError, match="Embedding: embedding_dim must be"):
        nn.Embedding(2, size)


def test_embedding_looks_up_and_accumulates():
    layer, x = nn.Embedding(5, 3, seed=1), sn.placeholder((2, 2), "int64")
    rows = layer(x)
    gradient = sn.grad(sn.sum(rows), layer.parameters())
    index = np.array([[0, 3], [3, 3]])
    value, first = sn.function([x], [rows, *gradient])(index)
    np.testing.assert_array_equal(value, layer.weight.value[index])
    np.testing.assert_array_equal(first[:, 0], [1, 0, 0, 3, 0])
    assert repr(layer) == "Embedding(5, 3)"
    with pytest.raises(ExecutionError, match="take"):
        compute(layer, np.array([5]))
    with pytest.raises(DTypeError, match="integer"):
        layer(sn.placeholder((2,)))


def test_embedding_starts_normal():
    weight = nn.Embedding(200, 100, seed=1).weight.value
    assert abs(weight.mean()) < 0.02
    assert abs(weight.std() - 1) < 0.02


# Dropout ----------------------------------------------------------------------------------------

ONES = np.ones(2000, "float32")


def dropper(layer, calls=1):
    x = sn.placeholder(("n",))
    return sn.function([x], [layer(x) for _ in range(calls)])


def test_dropout_drops_anew_at_each_call_and_run():
    layer = nn.Dropout(0.25, seed=1)
    drop = dropper(layer, calls=2)
    masks = [*drop(ONES), *drop(ONES), *drop(ONES)]
    for i, a in enumerate(masks):
        assert set(np.unique(a)) == {np.float32(0), np.float32(1 / 0.75)}
        assert abs(np.mean(a == 0) - 0.25) < 0.04
        for b in masks[:i]:
            both = np.mean((a == 0) & (b == 0))
            assert abs(both - 0.25**2) < 0.03, "masks must be independent"


def test_dropout_repeats_from_a_counter_set_back():
    layer = nn.Dropout(seed=1)
    assert layer.state_dict() == {}
    drop = dropper(layer)
    first, second = drop(ONES)[0], drop(ONES)[0]
    assert layer.counter.value == 2
    layer.counter.value = 0
    np.testing.assert_array_equal(drop(ONES)[0], first)
    layer.load_state_dict({"counter": np.uint64(1)})
    np.testing.assert_array_equal(drop(ONES)[0], second)


def test_dropout_layers_differ_and_follow_the_seed():
    nn.manual_seed(2)
    layers = [nn.Dropout(), nn.Dropout()]
    nn.manual_seed(2)
    same = nn.Dropout()
    first, second, again = (dropper(layer)(ONES)[0] for layer in (*layers, same))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)


def test_two_equal_dropouts_in_one_model():
    model = nn.Sequential(nn.Dropout(seed=1), nn.Linear(4, 4), nn.Dropout(seed=2))
    assert [name for name, _ in model.named_buffers()] == ["0.counter", "2.counter"]
    assert [v.name for v in model.buffers()] == ["0.counter", "2.counter"]
    assert len(model.parameters()) == 2


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_the_mode_is_read_when_the_graph_is_built(p):
    layer, x = nn.Dropout(p), sn.placeholder(("n",))
    trained = layer(x)
    assert layer.eval()(x) is x
    kept = np.mean(sn.function([x], trained)(ONES) != 0)
    assert abs(kept - (1 - p)) < 0.05
    assert (layer.train()(x) is x) == (p == 0)


def test_a_seed_of_a_layer_is_not_the_key_of_that_seed():
    words = sn.random.random_bits(sn.random.key(3), (16,))
    key_draws = sn.function([], words)() / 2.0**32
    layer_draws = nn.init.uniform((16,), dtype="float64", seed=3)
    assert np.abs(key_draws - layer_draws).min() > 1e-8


def test_dropout_takes_numpys_numbers():
    assert nn.Dropout(np.float64(0.25)).p == 0.25
    assert repr(nn.Dropout(0.25)) == "Dropout(p=0.25)"


@pytest.mark.parametrize("p", [-0.1, 1.5, "x", None])
def test_dropout_layer_checks_p(p):
    with pytest.raises(ArgumentError, match="Dropout: p must be"):
        nn.Dropout(p)


def test_dropout_trains_with_its_own_gradient_mask():
    model = nn.Sequential(nn.Linear(3, 50, seed=0), nn.Dropout(0.5, seed=0))
    x = sn.placeholder((1, 3))
    y = model(x)
    gradient = sn.grad(sn.sum(y), [model[0].bias])[0]
    value, g = sn.function([x], [y, gradient])(np.ones((1, 3), "float32"))
    np.testing.assert_array_equal(value[0] != 0, g == 2)
