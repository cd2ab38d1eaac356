"""The functions of sn.nn against PyTorch in float64: values, first and second derivatives."""

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, DTypeError, ExecutionError, ShapeError

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
F = torch.nn.functional
RTOL, ATOL = 1e-10, 1e-12
rng = np.random.default_rng(0)


def ours(f, arrays, differentiated):
    """f's value, and first and second derivatives of its weighted sum, from staticnet."""
    inputs = [sn.placeholder(a.shape, str(a.dtype)) for a in arrays]
    y = f(*inputs)
    wrt = [inputs[i] for i in differentiated]
    first = sn.grad(sn.sum(y * weights(y.shape)), wrt)
    scalar = sum((sn.sum(g * weights(g.shape)) for g in first), start=sn.constant(0.0, "float64"))
    second = sn.grad(scalar, wrt, allow_unused=True)
    return sn.function(inputs, [y, *first, *second])(*arrays)


def theirs(f, arrays, differentiated):
    """The same from PyTorch; None where it has no second derivative."""
    inputs = [torch.tensor(a) for a in arrays]
    wrt = [inputs[i].requires_grad_() for i in differentiated]
    y = f(*inputs)
    first = torch.autograd.grad((y * torch.tensor(weights(y.shape))).sum(), wrt, create_graph=True)
    scalar = sum((g * torch.tensor(weights(tuple(g.shape)))).sum() for g in first)
    if not scalar.requires_grad:
        return [t.numpy(force=True) for t in (y, *first)] + [np.zeros(w.shape) for w in wrt]
    second = torch.autograd.grad(scalar, wrt, allow_unused=True, materialize_grads=True)
    return [t.numpy(force=True) for t in (y, *first, *second)]


def weights(shape):
    """A fixed cotangent, so that a mistake does not cancel in a sum."""
    return np.cos(np.arange(np.prod(shape, dtype=int), dtype=np.float64)).reshape(tuple(shape)) + 2


def agree(f, reference, arrays, differentiated=(0,)):
    for mine, wanted in zip(
        ours(f, arrays, differentiated), theirs(reference, arrays, differentiated), strict=True
    ):
        np.testing.assert_allclose(mine, wanted, RTOL, ATOL)


ACTIVATIONS = {
    "relu": (nn.relu, F.relu),
    "leaky_relu": (nn.leaky_relu, F.leaky_relu),
    "leaky_relu slope": (lambda x: nn.leaky_relu(x, 0.3), lambda x: F.leaky_relu(x, 0.3)),
    "elu": (nn.elu, F.elu),
    "elu alpha": (lambda x: nn.elu(x, 1.7), lambda x: F.elu(x, 1.7)),
    "selu": (nn.selu, F.selu),
    "celu": (nn.functional.celu, F.celu),
    "celu alpha": (lambda x: nn.functional.celu(x, 2.5), lambda x: F.celu(x, 2.5)),
    "gelu": (nn.gelu, F.gelu),
    "gelu tanh": (
        lambda x: nn.gelu(x, approximate="tanh"),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    "silu": (nn.silu, F.silu),
    "softplus": (nn.softplus, F.softplus),
    "softplus beta": (lambda x: nn.softplus(x, 2.5, 3.0), lambda x: F.softplus(x, 2.5, 3.0)),
    "mish": (nn.mish, F.mish),
    "sigmoid": (nn.sigmoid, torch.sigmoid),
    "tanh": (nn.tanh, torch.tanh),
    "hardtanh": (nn.hardtanh, F.hardtanh),
    "hardtanh limits": (lambda x: nn.hardtanh(x, -0.2, 3), lambda x: F.hardtanh(x, -0.2, 3)),
    "softmax": (nn.softmax, lambda x: F.softmax(x, -1)),
    "softmax axis": (lambda x: nn.softmax(x, axis=0), lambda x: F.softmax(x, 0)),
    "log_softmax": (nn.log_softmax, lambda x: F.log_softmax(x, -1)),
    "log_softmax axis": (lambda x: nn.log_softmax(x, axis=1), lambda x: F.log_softmax(x, 1)),
}
each_activation = pytest.mark.parametrize(
    ("f", "reference"), ACTIVATIONS.values(), ids=ACTIVATIONS.keys()
)


@each_activation
def test_activation_matches_pytorch(f, reference):
    agree(f, reference, [rng.normal(0, 2, (3, 4, 5))])


@each_activation
def test_activation_matches_at_its_corners(f, reference):
    agree(f, reference, [np.array([[-1.0, 0.0, 1.0], [-0.0, 0.0, 3.0]])])


@each_activation
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activation_is_finite_where_pytorch_is(f, reference, dtype):
    x = np.array([[-1e4, 1e4, 0, -30], [1e4, 1e4, -1e4, 88]], dtype)
    xt = torch.tensor(x, requires_grad=True)
    y = reference(xt)
    (g,) = torch.autograd.grad(y.sum(), xt)
    node = sn.placeholder(x.shape, dtype)
    mine = f(node)
    values = sn.function([node], [mine, *sn.grad(sn.sum(mine), [node])])(x)
    for value, wanted in zip(values, (y, g), strict=True):
        assert value.dtype == dtype
        np.testing.assert_allclose(value, wanted.detach().numpy(), 1e-5, 1e-6)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu", "softplus", "tanh"])
def test_activation_at_infinity(name):
    x = np.array([-np.inf, np.inf, np.nan])
    f, reference = ACTIVATIONS[name]
    mine = ours(f, [x], [0])
    np.testing.assert_allclose(mine[0], reference(torch.tensor(x)).numpy())
    assert np.isfinite(mine[1][:2]).all(), "first derivative"


@pytest.mark.parametrize("f", [nn.softmax, nn.log_softmax, nn.softmin])
@pytest.mark.parametrize("dtypes", [("float16", "float64"), ("bfloat16", "float32")])
def test_softmax_in_a_dtype_that_is_asked_for(f, dtypes):
    given, asked = dtypes
    x = torch.arange(6.0).reshape(2, 3).to(getattr(torch, given))
    name = f.__name__
    wanted = getattr(F, name)(x, -1, dtype=getattr(torch, asked)).numpy()
    node = sn.placeholder((2, 3), given, name="narrow")
    y = f(node, -1, dtype=asked)
    (got,) = sn.function(node, [y], device="numpy")(x.float().numpy().astype(node.dtype))
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_softmax_of_minus_infinity_is_zero():
    x = np.array([0.0, -np.inf, 1.0])
    np.testing.assert_allclose(
        ours(nn.softmax, [x], [0])[:2], theirs(lambda x: F.softmax(x, 0), [x], [0])[:2]
    )


TAKE_INTEGERS = ("relu", "sigmoid", "tanh")


@pytest.mark.parametrize("f", [f for n, (f, _) in ACTIVATIONS.items() if n not in TAKE_INTEGERS])
def test_activation_of_integers_is_an_error(f):
    with pytest.raises(DTypeError, match=r"floating-point.*test_nn_functional\.py"):
        f(sn.placeholder((2, 2), "int32"))


def test_errors_name_the_function_and_the_argument():
    x = sn.placeholder((3,))
    with pytest.raises(ArgumentError, match="gelu: approximate .*'erf'"):
        nn.gelu(x, "erf")
    with pytest.raises(ArgumentError, match="hardtanh: min_val"):
        nn.hardtanh(x, 1, 0)
    with pytest.raises(ShapeError, match="axis 1 is out of range"):
        nn.softmax(x, axis=1)


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_matches_pytorch(shape, bias):
    arrays = [rng.normal(size=s) for s in (shape, (5, 4), (5,))][: 2 + bias]
    agree(nn.linear, F.linear, arrays, range(len(arrays)))


@pytest.mark.parametrize(
    ("x", "weight", "bias"), [((2, 3), (5, 4), (5,)), ((2, 4), (5, 4), (4,)), ((2, 4), (4,), (5,))]
)
def test_linear_checks_shapes(x, weight, bias):
    with pytest.raises(ShapeError, match="linear: "):
        nn.linear(*(sn.placeholder(s) for s in (x, weight, bias)))


# Losses -----------------------------------------------------------------------------------------

SHAPE = (4, 3)
PREDICTION = rng.normal(0, 2, SHAPE)
REAL = rng.normal(0, 2, SHAPE)
PROBABILITY = rng.dirichlet(np.ones(3), 4)
SIGNS = np.where(rng.random(SHAPE) < 0.5, -1.0, 1.0)
CLASS_WEIGHT = rng.uniform(0.5, 2, 3)


def reference_hinge(x, y, margin=1.0, reduction="mean"):
    loss = torch.relu(margin - y * x)
    return loss if reduction == "none" else getattr(loss, reduction)()


LOSSES = {
    "mse": (nn.mse_loss, F.mse_loss, REAL, {}),
    "l1": (nn.l1_loss, F.l1_loss, REAL, {}),
    "huber": (nn.huber_loss, F.huber_loss, REAL, {}),
    "huber delta": (nn.huber_loss, F.huber_loss, REAL, {"delta": 0.4}),
    "hinge": (nn.hinge_loss, reference_hinge, SIGNS, {}),
    "hinge margin": (nn.hinge_loss, reference_hinge, SIGNS, {"margin": 0.3}),
    "hinge_embedding": (nn.hinge_embedding_loss, F.hinge_embedding_loss, SIGNS, {"margin": 1.5}),
    "bce": (
        nn.binary_cross_entropy_with_logits,
        F.binary_cross_entropy_with_logits,
        rng.random(SHAPE),
        {},
    ),
    "bce weights": (
        nn.binary_cross_entropy_with_logits,
        F.binary_cross_entropy_with_logits,
        rng.random(SHAPE),
        {"weight": CLASS_WEIGHT, "pos_weight": CLASS_WEIGHT[::-1].copy()},
    ),
    "kl": (nn.kl_div, F.kl_div, PROBABILITY, {}),
    "kl log": (nn.kl_div, F.kl_div, np.log(PROBABILITY), {"log_target": True}),
}
each_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


def to_torch(options):
    """Options with arrays as tensors."""
    return {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}


def agree_loss(f, reference, arrays, options, differentiated=(0,)):
    agree(
        lambda *x: f(*x, **options),
        lambda *x: reference(*x, **to_torch(options)),
        arrays,
        differentiated,
    )


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # PyTorch, of kl_div
@each_reduction
@pytest.mark.parametrize(("f", "reference", "target", "options"), LOSSES.values(), ids=LOSSES)
def test_loss_matches_pytorch(f, reference, target, options, reduction):
    differentiated = (0,) if target is SIGNS else (0, 1)
    options = options | {"reduction": reduction}
    agree_loss(f, reference, [PREDICTION, target], options, differentiated)


@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_batchmean(log_target):
    target = np.log(PROBABILITY) if log_target else PROBABILITY
    options = {"reduction": "batchmean", "log_target": log_target}
    agree_loss(nn.kl_div, F.kl_div, [PREDICTION, target], options, (0, 1))


def test_kl_div_takes_zero_probabilities():
    target = np.array([[0.0, 1.0, 0.0]])
    agree_loss(nn.kl_div, F.kl_div, [PREDICTION[:1], target], {"reduction": "sum"})


def test_bce_is_exact_for_extreme_logits():
    x, t = np.array([-1e4, 1e4, -1e4, 1e4, 50.0]), np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    f, reference = LOSSES["bce"][:2]
    agree_loss(f, reference, [x, t], {"reduction": "none"})


@pytest.mark.parametrize(("f", "target"), [(row[0], row[2]) for row in LOSSES.values()], ids=LOSSES)
def test_loss_checks_its_operands(f, target):
    x = sn.placeholder((4, 3), "float64")
    with pytest.raises(ShapeError, match=rf"{f.__name__}: .*\[4\].*reshape.*test_nn_functional"):
        f(x, target[:, 0])
    with pytest.raises(ArgumentError, match=f"{f.__name__}: reduction .*'avg'"):
        f(x, target, reduction="avg")
    with pytest.raises(DTypeError, match=f"{f.__name__}: .*floating-point"):
        f(sn.placeholder((4, 3), "int64"), target)


def test_loss_arguments_out_of_range():
    x = sn.placeholder((4, 3), "float64")
    with pytest.raises(ArgumentError, match="huber_loss: delta"):
        nn.huber_loss(x, REAL, delta=0)
    with pytest.raises(ShapeError, match="weight"):
        nn.binary_cross_entropy_with_logits(x, REAL, weight=np.ones((2, 4, 3)))
    with pytest.raises(ShapeError, match="batchmean"):
        nn.kl_div(sn.placeholder(()), 1.0, reduction="batchmean")


# Classification ---------------------------------------------------------------------------------

LAYOUTS = {"classes": (3,), "batch": (4, 3), "extra dims": (2, 3, 4, 5)}
each_layout = pytest.mark.parametrize("shape", LAYOUTS.values(), ids=LAYOUTS)
each_weight = pytest.mark.parametrize("weight", [None, CLASS_WEIGHT], ids=["plain", "weighted"])
each_smoothing = pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])


def labels(shape, dtype="int64"):
    """A label an example, the first of them ignored by -100 where there are several."""
    lead = shape[:1] + shape[2:] if len(shape) > 1 else ()
    result = np.random.default_rng(1).integers(0, 3, lead).astype(dtype)
    if result.ndim:
        result.flat[0] = -100
    return result


@each_layout
@each_weight
@each_reduction
def test_nll_loss_matches_pytorch(shape, weight, reduction):
    options = {"weight": weight, "reduction": reduction}
    agree_loss(nn.nll_loss, F.nll_loss, [rng.normal(size=shape), labels(shape)], options)


@each_layout
@each_weight
@each_reduction
@each_smoothing
def test_cross_entropy_of_labels_matches_pytorch(shape, weight, reduction, smoothing):
    options = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
    agree_loss(nn.cross_entropy, F.cross_entropy, [rng.normal(size=shape), labels(shape)], options)


@each_layout
@each_weight
@each_reduction
@each_smoothing
def test_cross_entropy_of_distributions_matches_pytorch(shape, weight, reduction, smoothing):
    options = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
    target = rng.dirichlet(np.ones(3), (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    target = np.moveaxis(target, -1, 1 if len(shape) > 1 else 0)
    arrays = [rng.normal(size=shape), np.ascontiguousarray(target)]
    agree_loss(nn.cross_entropy, F.cross_entropy, arrays, options, (0, 1))


@pytest.mark.parametrize("ignored", [0, 2, -1])
def test_ignore_index_of_another_value(ignored):
    target = np.array([0, 1, 2, 2])
    target[3] = ignored
    options = {"ignore_index": ignored, "label_smoothing": 0.2, "weight": CLASS_WEIGHT}
    agree_loss(nn.cross_entropy, F.cross_entropy, [PREDICTION, target], options)


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_labels_of_other_integer_types(dtype):
    target = np.array([0, 1, 2, 1])
    (mine,) = ours(nn.cross_entropy, [PREDICTION, target.astype(dtype)], [0])[:1]
    np.testing.assert_allclose(
        mine, F.cross_entropy(torch.tensor(PREDICTION), torch.tensor(target))
    )


def test_all_labels_ignored_gives_nan_as_in_pytorch():
    target = np.full(4, -100)
    assert F.cross_entropy(torch.tensor(PREDICTION), torch.tensor(target)).isnan()
    assert np.isnan(ours(nn.cross_entropy, [PREDICTION, target], [0])[0])


def test_cross_entropy_is_exact_for_extreme_logits():
    x = np.array([[1e4, -1e4, 0.0], [-1e4, 0.0, 1e4]])
    agree_loss(nn.cross_entropy, F.cross_entropy, [x, np.array([1, 2])], {"reduction": "none"})


def test_an_ignored_label_hides_an_infinite_logit():
    x = np.array([[-np.inf, 0.0, 1.0], [0.0, 1.0, 2.0]])
    values = ours(nn.cross_entropy, [x, np.array([-100, 2])], [0])
    assert np.isfinite(values[0])
    np.testing.assert_array_equal(values[1][0], 0)


@pytest.mark.parametrize("bad", [3, -1, -3])
def test_a_label_out_of_range_fails_the_run(bad):
    x, t = sn.placeholder((2, 3)), sn.placeholder((2,), "int64")
    loss = sn.function([x, t], nn.cross_entropy(x, t))
    with pytest.raises(ExecutionError, match="take_along_axis.*test_nn_functional"):
        loss(np.zeros((2, 3), "float32"), np.array([0, bad]))


def test_cross_entropy_on_a_symbolic_batch():
    x, t = sn.placeholder(("batch", 3), "float64"), sn.placeholder(("batch",), "int64")
    loss = nn.cross_entropy(x, t, label_smoothing=0.1)
    run = sn.function([x, t], [loss, *sn.grad(loss, [x])])
    for n in (1, 4):
        xt, tt = torch.tensor(PREDICTION[:n], requires_grad=True), torch.tensor([0, 2, 1, 1][:n])
        wanted = F.cross_entropy(xt, tt, label_smoothing=0.1)
        wanted.backward()
        value, gradient = run(PREDICTION[:n], tt.numpy())
        np.testing.assert_allclose(value, wanted.item(), RTOL)
        np.testing.assert_allclose(gradient, xt.grad.numpy(), RTOL, ATOL)


@pytest.mark.parametrize(
    ("error", "target", "options", "message"),
    [
        (ShapeError, np.zeros((4, 3), int), {}, r"target \[4,3\] must be .*\[4\]"),
        (ShapeError, np.zeros((4, 2)), {}, r"target \[4,2\] must have"),
        (ShapeError, np.zeros(4, int), {"weight": np.ones(4)}, "weight .*entry a class"),
        (DTypeError, np.zeros(4, bool), {}, "class labels must be integers, not bool"),
        (ArgumentError, np.zeros(4, int), {"label_smoothing": 1.5}, "label_smoothing"),
        (ArgumentError, np.zeros(4, int), {"reduction": "max"}, "reduction"),
        (ArgumentError, np.zeros((4, 3)), {"ignore_index": 1}, "ignore_index"),
        (ArgumentError, np.zeros(4, int), {"ignore_index": 1.0}, "ignore_index"),
    ],
)
def test_cross_entropy_checks_its_arguments(error, target, options, message):
    with pytest.raises(error, match="cross_entropy: " + message):
        nn.cross_entropy(sn.placeholder((4, 3), "float64"), target, **options)


def test_weights_do_not_widen_the_loss():
    x, wide = sn.placeholder((4, 3), "float32"), np.ones(3, "float64")
    assert nn.cross_entropy(x, np.zeros(4, int), wide).dtype == "float32"
    target = sn.placeholder((4, 3))
    loss = nn.binary_cross_entropy_with_logits(x, target, weight=wide, pos_weight=wide)
    assert loss.dtype == "float32"


def test_hinge_loss_takes_integer_signs():
    values = ours(nn.hinge_loss, [PREDICTION, SIGNS.astype("int8")], [0])
    for value, wanted in zip(values, ours(nn.hinge_loss, [PREDICTION, SIGNS], [0]), strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_cross_entropy_needs_a_class_axis():
    with pytest.raises(ShapeError, match="cross_entropy: .*axis of classes"):
        nn.cross_entropy(sn.placeholder(()), np.int64(0))


# Dropout ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_dropout_keeps_the_mean_and_drops_p(p):
    x = sn.constant(np.full(20000, 3.0, "float32"))
    y = sn.function([], nn.dropout(x, p, sn.random.key(7)))()
    assert abs(np.mean(y == 0) - p) < 0.015
    np.testing.assert_allclose(y[y != 0], 3.0 / (1 - p) if p < 1 else [], rtol=1e-6)


def test_dropout_gradient_has_the_same_mask():
    x = sn.placeholder((1000,))
    y = nn.dropout(x, 0.3, sn.random.key(1))
    value, gradient = sn.function([x], [y, *sn.grad(sn.sum(y), [x])])(np.ones(1000, "float32"))
    np.testing.assert_array_equal(value, gradient)
    assert 0 < np.count_nonzero(value) < 1000


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), "half", True])
def test_dropout_checks_p(p):
    with pytest.raises(ArgumentError, match="dropout: p must be"):
        nn.dropout(sn.placeholder((3,)), p, sn.random.key(0))


def test_dropout_takes_no_number_for_a_key():
    for wrong in ({"training": 0}, {"key": 0}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            nn.dropout(sn.placeholder((3,)), 0.5, **wrong)
