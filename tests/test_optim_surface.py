"""What a user writes and reads: arguments, groups, errors, dtypes, names and text."""

import dataclasses
import inspect

import numpy as np
import pytest

import staticnet as sn
from staticnet import optim
from staticnet.errors import ArgumentError, GradientError, ShapeError

OPTIMIZERS = [
    optim.SGD,
    optim.Adagrad,
    optim.Adadelta,
    optim.RMSprop,
    optim.Adam,
    optim.AdamW,
    optim.Adamax,
    optim.NAdam,
    optim.RAdam,
    optim.Adafactor,
    optim.Rprop,
    optim.ASGD,
    optim.Lion,
    optim.LAMB,
]
EVERY_STATE = [
    *(cls() for cls in OPTIMIZERS),
    optim.Nesterov(0.1),
    optim.RMSprop(momentum=0.9, centered=True),
    optim.AMSGrad(),
]


def two_parameters(dtype="float64"):
    w = sn.variable(np.ones((3, 2), dtype), "w")
    b = sn.variable(np.ones(2, dtype), "b")
    return w, b, sn.sum(sn.square(w + b))


def run(updates, times=1):
    step = sn.function([], [], updates=updates)
    for _ in range(times):
        step()


@pytest.mark.parametrize("cls", OPTIMIZERS[:12], ids=lambda cls: cls.__name__)
def test_names_and_defaults_are_pytorchs(cls):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    theirs = inspect.signature(getattr(torch.optim, cls.__name__)).parameters
    left_out = {"params", "foreach", "capturable", "differentiable", "fused"}
    expected = {name: p.default for name, p in theirs.items() if name not in left_out}
    assert {f.name: f.default for f in dataclasses.fields(cls)} == expected
    told = inspect.signature(cls).parameters  # as help and editors show it
    assert {name: p.default for name, p in told.items()} == expected


@pytest.mark.parametrize("make", [*OPTIMIZERS, optim.Momentum, optim.Nesterov, optim.AMSGrad])
def test_learning_rate_is_another_name_of_lr(make):
    assert make(learning_rate=0.25) == make(lr=0.25) == make(0.25)
    assert make(learning_rate=0.25).lr == make(0.25).learning_rate == 0.25
    for args, kwargs in [((), {"lr": 0.1}), ((0.1,), {})]:
        with pytest.raises(ArgumentError, match="lr and learning_rate are one"):
            make(*args, learning_rate=0.1, **kwargs)


def test_named_variants_are_options_of_a_rule():
    assert optim.Momentum(0.1) == optim.SGD(0.1, momentum=0.9)
    assert optim.Nesterov(0.1, 0.8) == optim.SGD(0.1, momentum=0.8, nesterov=True)
    assert optim.AMSGrad(eps=1e-4) == optim.Adam(amsgrad=True, eps=1e-4)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: optim.SGD(-0.1), r"SGD: lr must be a number >= 0, not -0.1"),
        (lambda: optim.SGD(float("nan")), "SGD: lr"),
        (lambda: optim.SGD(lr=True), "SGD: lr"),
        (lambda: optim.SGD(momentum=-1), "SGD: momentum"),
        (lambda: optim.SGD(nesterov=True), "SGD: nesterov needs momentum"),
        (lambda: optim.SGD(momentum=0.9, dampening=0.1, nesterov=True), "SGD: nesterov"),
        (lambda: optim.SGD(momentum=0.9, nesterov=1), "nesterov must be True or False"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), r"Adam: betas must be two numbers in \[0, 1\)"),
        (lambda: optim.Adam(betas=0.9), "Adam: betas"),
        (lambda: optim.Adam(eps=-1e-8), "Adam: eps"),
        (lambda: optim.AdamW(weight_decay="no"), "AdamW: weight_decay"),
        (lambda: optim.Adadelta(rho=1.1), r"Adadelta: rho must be a number in \[0, 1\]"),
        (lambda: optim.RMSprop(alpha=-1), "RMSprop: alpha"),
        (lambda: optim.Adagrad(lr_decay=-1), "Adagrad: lr_decay"),
        (lambda: optim.Adagrad(initial_accumulator_value=-1), "initial_accumulator_value"),
        (lambda: optim.NAdam(momentum_decay=-1), "NAdam: momentum_decay"),
        (lambda: optim.LAMB(eps_root=-1), "LAMB: eps_root"),
        (lambda: optim.ASGD(lambd=-1), "ASGD: lambd"),
        (lambda: optim.ASGD(t0=float("nan")), "ASGD: t0"),
        (lambda: optim.Rprop(etas=(1.2, 0.5)), r"Rprop: etas must be in \(0, 1\) and above 1"),
        (lambda: optim.Rprop(etas=0.5), "Rprop: etas must be two numbers"),
        (lambda: optim.Rprop(step_sizes=(1, 0.1)), "Rprop: step_sizes must be in order"),
        (lambda: optim.Rprop(step_sizes=(-1, 1)), "Rprop: step_sizes"),
    ],
)
def test_a_hyper_parameter_out_of_range_says_what_is_legal(make, names):
    with pytest.raises(ArgumentError, match=names):
        make()


def test_minimize_takes_what_is_trainable_in_the_order_of_the_graph():
    frozen, unused = sn.variable(1.0, trainable=False), sn.variable(1.0)
    count = sn.variable(1)
    w, b, loss = two_parameters("float32")
    updates = optim.SGD().minimize(loss * frozen * sn.astype(count, "float32"))
    assert [id(p) for p in updates.parameters] == [id(w), id(b)]
    assert unused not in updates
    b.trainable = False
    assert [id(p) for p in optim.SGD().minimize(loss).parameters] == [id(w)]
    assert [id(p) for p in optim.SGD().minimize(loss, b).parameters] == [id(b)]
    assert [id(p) for p in optim.SGD().minimize(loss, [b, w]).parameters] == [id(b), id(w)]
    assert [id(p) for p in optim.SGD().minimize(loss, iter([b, w])).parameters] == [id(b), id(w)]
    group = {"params": iter([w])}
    assert [id(p) for p in optim.SGD().minimize(loss, [group]).parameters] == [id(w)]


def test_minimize_runs_nothing():
    w, b, loss = two_parameters()
    updates = optim.Adam().minimize(loss)
    assert (w.value == 1).all()
    assert (b.value == 1).all()
    assert updates.step.value == 0
    run(updates, 3)
    assert updates.step.value == 3
    assert (w.value < 1).all()


def test_what_cannot_be_minimized_says_why():
    w, b, loss = two_parameters()
    other = sn.variable(np.ones(3), "other")
    adam = optim.Adam()
    for call, error, names in [
        (lambda: adam.minimize(sn.constant(1.0)), GradientError, "no trainable variable"),
        (lambda: adam.minimize(1.0), GradientError, "must be a graph node"),
        (lambda: adam.minimize(loss, [w, other]), GradientError, "does not depend on other"),
        (lambda: adam.minimize(loss, []), GradientError, "empty"),
        (lambda: adam.minimize(loss, [w, w]), ArgumentError, "twice"),
        (lambda: adam.minimize(loss, [w, "b"]), ArgumentError, "must hold variables"),
        (lambda: adam.minimize(loss, [{"params": [w]}, b]), ArgumentError, "a group is a dict"),
        (lambda: adam.minimize(loss, [{"lr": 1.0}]), ArgumentError, "'params'"),
        (lambda: adam.minimize(loss, [{"params": w, "beta": 1}]), ArgumentError, "'beta'"),
        (lambda: adam.minimize(loss, [{"params": w, "eps": -1}]), ArgumentError, "Adam: eps"),
        (lambda: adam.apply([w]), ArgumentError, "a mapping"),
        (lambda: adam.apply({}), GradientError, "nothing to update"),
        (lambda: adam.apply({w: 1.0}), ArgumentError, "the gradient of w"),
        (lambda: adam.apply({w: b}), ShapeError, "the gradient of w"),
        (lambda: adam.apply({w: w}, [w, b]), GradientError, "the same variables"),
        (lambda: optim.SGD(lr=w).minimize(loss), ArgumentError, "floating-point scalar"),
        (lambda: optim.SGD(lr=lambda step: step).minimize(loss), ArgumentError, "floating-point"),
        (lambda: optim.SGD(lr=lambda step: -1).minimize(loss), ArgumentError, "SGD: lr"),
    ]:
        with pytest.raises(error, match=names):
            call()


def test_a_group_may_say_learning_rate():
    w, b, loss = two_parameters()
    groups = [{"params": w, "learning_rate": 0.0}, {"params": [b]}]
    run(optim.SGD(learning_rate=0.1).minimize(loss, groups))
    assert (w.value == 1).all()
    np.testing.assert_allclose(b.value, 1 - 0.1 * 3 * 4)


def test_a_group_may_have_a_rule_of_its_own():
    w, b, loss = two_parameters()
    groups = [{"params": w}, {"params": [b], "optimizer": optim.Adam(0.5), "lr": 0.25}]
    run(optim.SGD(0.1).minimize(loss, groups))
    found = [w.value, b.value]
    w, b, loss = two_parameters()
    run(optim.SGD(0.1).minimize(loss, [w]) | optim.Adam(0.25).minimize(loss, [b]))
    np.testing.assert_array_equal(found[0], w.value)
    np.testing.assert_array_equal(found[1], b.value)
    with pytest.raises(ArgumentError, match="a group's optimizer must be a rule, not 'adam'"):
        optim.SGD(0.1).minimize(loss, [{"params": w, "optimizer": "adam"}])


def test_gradients_can_change_on_their_way_to_the_optimizer():
    w, b, loss = two_parameters()
    grads = dict(zip([w, b], sn.grad(loss, [w, b]), strict=True))
    run(optim.SGD(lr=0.1).apply({w: grads[w] * 2, b: grads[b] * 0}))
    np.testing.assert_allclose(w.value, 1 - 0.1 * 2 * 4)
    np.testing.assert_array_equal(b.value, 1)


def test_the_learning_rate_may_be_a_variable_set_while_training():
    w = sn.variable(np.zeros(2, "float32"), "w")
    lr = sn.variable(0.5, "lr")
    step = sn.function([], [], updates=optim.SGD(lr=lr).minimize(sn.sum(w)))
    step()
    lr.value = 0.125
    step()
    np.testing.assert_array_equal(w.value, -0.625)
    assert lr.value == np.float32(0.125)


def test_the_learning_rate_may_be_any_function_of_the_step():
    w = sn.variable(np.zeros(2), "w")

    def halving(step):
        assert step.dtype == "int64"
        return 1 / (1 + sn.astype(step, "float32"))

    run(optim.SGD(lr=halving).minimize(sn.sum(w)), 2)
    np.testing.assert_array_equal(w.value, -1.5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("optimizer", EVERY_STATE, ids=lambda o: type(o).__name__)
def test_dtypes_are_kept(optimizer, dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 comes from ml_dtypes")
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    w, b, loss = two_parameters(dtype)
    scheduled = dataclasses.replace(optimizer, lr=optim.Constant(10.0))
    updates = optim.Accumulate(scheduled, 1).minimize(loss)
    assert {str(t.dtype) for t in updates} <= {str(w.dtype), "int64"}
    run(updates)
    assert w.value.dtype == np.dtype(dtype)
    assert (w.value != 1).all()
    assert np.isfinite(b.value.astype("float64")).all()


def test_numpy_scalars_do_not_widen():
    w, _, loss = two_parameters("float32")
    updates = optim.Adam(np.float64(1e-3), betas=(np.float64(0.9), np.float32(0.5))).minimize(loss)
    assert updates[w].dtype == "float32"
    assert type(optim.Adam(np.float64(1e-3)).lr) is float


@pytest.mark.parametrize("name", ["Adam", "RAdam", "NAdam"])
@pytest.mark.parametrize("beta2", [0.9999, 0.99999])
def test_bias_corrections_are_accurate_in_float32(name, beta2):
    """Against PyTorch, which takes them in Python's float64; 1 - 0.9999 has 3 digits in float32."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    options = {"lr": 0.1, "betas": (0.9, beta2)}
    w, _, loss = two_parameters("float32")
    step = sn.function([], [], updates=getattr(optim, name)(**options).minimize(loss, w))
    tw = torch.ones(3, 2, requires_grad=True)
    theirs = getattr(torch.optim, name)([tw], foreach=False, **options)
    for _ in range(8):
        theirs.zero_grad()
        torch.sum((tw + 1) ** 2).backward()
        theirs.step()
        step()
        np.testing.assert_allclose(w.value - 1, tw.detach().numpy() - 1, rtol=3e-6)


def test_state_is_named_found_and_not_trainable():
    w, b, loss = two_parameters()
    nameless = sn.variable(1.0)
    updates = optim.AMSGrad().minimize(loss * sn.astype(nameless, "float64"))
    state = updates.state[w]
    assert list(state) == ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    assert [v.name for v in state.values()] == [f"w.{name}" for name in state]
    assert updates.state[nameless]["exp_avg"].name == "exp_avg"
    assert not any(v.trainable for v in [*state.values(), updates.step])
    assert updates.step.name == "adam.step"
    assert set(updates) >= {w, b, *state.values(), updates.step}
    assert updates.step.dtype == "int64"


def test_updates_print_one_line_a_variable():
    _, _, loss = two_parameters("float32")
    assert str(optim.Momentum(0.1).minimize(loss)).splitlines() == [
        "w f32[3,2] <- subtract(w, multiply)",
        "w.momentum_buffer f32[3,2] <- add(multiply, multiply)",
        "b f32[2] <- subtract(b, multiply)",
        "b.momentum_buffer f32[2] <- add(multiply, multiply)",
        "sgd.step i64[] <- add(sgd.step, constant)",
    ]


def test_updates_can_be_edited_and_joined():
    w, b, loss = two_parameters()
    counter = sn.variable(0, "counter", trainable=False)
    updates = optim.SGD(lr=0.1).minimize(loss, w)
    updates[counter] = counter + 1
    run({**updates, **optim.SGD(lr=0.2).minimize(loss, b)})
    assert counter.value == 1
    np.testing.assert_allclose(w.value, 1 - 0.1 * 4)
    np.testing.assert_allclose(b.value, 1 - 0.2 * 3 * 4)


def test_every_public_name_is_there():
    for name in optim.__all__:
        assert getattr(optim, name).__doc__, name


def test_a_rate_may_be_an_array_without_axes():
    assert optim.Adam(np.array(1e-3)) == optim.Adam(1e-3)
    with pytest.raises(ArgumentError, match="a rule holds no parameters"):
        optim.Adam([sn.variable(1.0)])


def test_an_error_in_a_property_comes_out():
    class Rule(optim.SGD):
        @property
        def warmth(self):
            return self.missing

    with pytest.raises(AttributeError, match="has no 'missing'"):
        Rule().warmth  # noqa: B018
    with pytest.raises(AttributeError, match="has no ''"):
        getattr(Rule(), "")
