"""Schedules against PyTorch's schedulers in float64, step by step."""

import dataclasses

import numpy as np
import pytest

import staticnet as sn
from staticnet import optim
from staticnet.errors import ArgumentError

LR, STEPS = 0.3, 40

SAME = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 3, "gamma": 0.7}),
    ("ExponentialLR", {"gamma": 0.93}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.01, "end_factor": 0.9, "total_iters": 20}),
    ("PolynomialLR", {"total_iters": 30, "power": 1.7}),
    ("PolynomialLR", {}),
    ("CosineAnnealingLR", {"T_max": 39, "eta_min": 1e-3}),
    ("CosineAnnealingLR", {"T_max": 15, "eta_min": 0.01}),
    ("MultiStepLR", {"milestones": [3, 11, 11, 30]}),
    ("MultiStepLR", {"milestones": [20, 5], "gamma": 0.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.2, "total_iters": 17}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
]

CYCLES = [
    {"step_size_up": 7},
    {"step_size_up": 4, "step_size_down": 9, "mode": "triangular2"},
    {"step_size_up": 9, "step_size_down": 1, "mode": "exp_range", "gamma": 0.9},
    {"step_size_up": 5, "scale_fn": lambda cycle: 1 / cycle},
    {"step_size_up": 5, "scale_fn": lambda t: 0.97**t, "scale_mode": "iterations"},
]


def ours(schedule):
    """The schedule's rate at each step."""
    step = sn.placeholder((), "int64", "step")
    rate = schedule(step)
    assert rate.dtype == "float64"
    assert rate.shape == ()
    at = sn.function([step], rate)
    return np.array([at(np.int64(t)) for t in range(STEPS)])


def theirs(make_scheduler):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=LR, momentum=0.9)
    scheduler = make_scheduler(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(rates)


@pytest.mark.parametrize(("name", "options"), SAME)
def test_a_schedule_follows_pytorch(name, options):
    expected = theirs(lambda library, optimizer: getattr(library, name)(optimizer, **options))
    np.testing.assert_allclose(
        ours(getattr(optim, name)(LR, **options)), expected, rtol=1e-12, atol=1e-15
    )
    assert np.ptp(expected) > 0.1 * LR


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pct_start": 0.45, "div_factor": 7.0},
        {"three_phase": True},
        {"pct_start": 0.2, "three_phase": True, "final_div_factor": 10.0},
        {"total_steps": None, "epochs": 3, "steps_per_epoch": STEPS},
    ],
)
def test_one_cycle_follows_pytorch(strategy, options):
    options = {"total_steps": STEPS + 1, "anneal_strategy": strategy, **options}
    expected = theirs(lambda library, optimizer: library.OneCycleLR(optimizer, LR, **options))
    np.testing.assert_allclose(ours(optim.OneCycleLR(LR, **options)), expected, rtol=1e-12)


@pytest.mark.parametrize("options", CYCLES)
def test_cycles_follow_pytorch(options):
    expected = theirs(
        lambda library, optimizer: library.CyclicLR(
            optimizer, LR / 10, LR, cycle_momentum=False, **options
        )
    )
    np.testing.assert_allclose(ours(optim.CyclicLR(LR / 10, LR, **options)), expected, rtol=1e-9)


def test_one_cycle_stays_at_its_end():
    schedule = optim.OneCycleLR(LR, total_steps=20)
    rates = ours(schedule)
    np.testing.assert_allclose(rates[19:], LR / 25 / 1e4, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
def test_warm_up_then_cosine_then_decay_follows_pytorch():
    milestones = [5, 25]

    def sequence(library, optimizer):
        parts = [
            library.LinearLR(optimizer, start_factor=0.1, total_iters=5),
            library.CosineAnnealingLR(optimizer, T_max=30),
            library.ExponentialLR(optimizer, gamma=0.8),
        ]
        return library.SequentialLR(optimizer, parts, milestones)

    parts = [
        optim.LinearLR(LR, start_factor=0.1, total_iters=5),
        optim.CosineAnnealingLR(LR, T_max=30),
        optim.ExponentialLR(LR, gamma=0.8),
    ]
    for schedule in (
        optim.SequentialLR(parts, milestones),
        optim.SequentialLR(schedulers=parts, milestones=milestones),
    ):
        np.testing.assert_allclose(ours(schedule), theirs(sequence), rtol=1e-12, atol=1e-15)
        assert dataclasses.replace(schedule) == schedule


def test_constant_and_python_steps():
    assert (ours(optim.Constant(LR)) == LR).all()
    assert (ours(optim.LambdaLR(LR, lambda t: 1.0)) == LR).all()
    assert (ours(optim.CyclicLR(0.0, LR, 1, 1, scale_fn=lambda cycle: 1)) >= 0).all()
    stairs = optim.SequentialLR([lambda t: LR, lambda t: sn.astype(t, "float32")], [3])
    assert list(ours(stairs)[:5]) == [LR] * 3 + [0, 1]
    assert dataclasses.replace(optim.Constant(np.float32(0.5))) == optim.Constant(0.5)
    assert sn.function([], optim.ExponentialLR(1.0, 0.5)(3))() == 0.125


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: optim.StepLR(LR, 0), "StepLR: step_size"),
        (lambda: optim.CosineAnnealingLR(LR, 2.5), "CosineAnnealingLR: T_max"),
        (lambda: optim.LinearLR(LR, total_iters=-1), "LinearLR: total_iters"),
        (lambda: optim.OneCycleLR(LR, 10, anneal_strategy="step"), "OneCycleLR: anneal_strategy"),
        (lambda: optim.OneCycleLR(LR, 10, pct_start=1.0), "OneCycleLR: pct_start"),
        (lambda: optim.OneCycleLR(LR, 10, 0.6, three_phase=True), "leave steps for three phases"),
        (lambda: optim.LambdaLR(LR, 0.9), "LambdaLR: lr_lambda is a function, not 0.9"),
        (lambda: optim.CyclicLR(LR, 1.0, 0), "CyclicLR: step_size_up"),
        (lambda: optim.CyclicLR("a", 1.0, 3), "CyclicLR: base_lr must be a number, not 'a'"),
        (lambda: optim.CyclicLR(LR, 1.0, scale_fn=3), "CyclicLR: scale_fn is a function, not 3"),
        (lambda: optim.CyclicLR(LR, 1.0, mode=["triangular"]), "CyclicLR: mode is one of"),
        (lambda: optim.OneCycleLR(LR, 10, pct_start="a"), "OneCycleLR: pct_start must be a num"),
        (
            lambda: optim.OneCycleLR(LR, 10, anneal_strategy=["cos"]),
            "anneal_strategy is one of cos",
        ),
        (lambda: optim.ConstantLR(LR, -1), r"ConstantLR: factor must be in \[0, 1\]"),
        (lambda: optim.ConstantLR(LR, 2), r"ConstantLR: factor must be in \[0, 1\]"),
        (lambda: optim.Constant(True), "Constant: lr must be a number"),
        (lambda: optim.MultiStepLR(LR, [3], gamma=None), "MultiStepLR: gamma must be a number"),
        (lambda: optim.CosineAnnealingWarmRestarts(LR, 3, 0), "Restarts: T_mult"),
        (lambda: optim.CosineAnnealingWarmRestarts(LR, 3, eta_min="a"), "Restarts: eta_min"),
        (lambda: optim.LambdaLR("a", lambda t: t), "LambdaLR: lr must be a number"),
        (lambda: optim.CyclicLR(LR, 1.0, mode="square"), "CyclicLR: mode is one of triangular,"),
        (lambda: optim.CyclicLR(LR, 1.0, scale_mode="step"), "CyclicLR: scale_mode"),
        (lambda: optim.OneCycleLR(LR), "OneCycleLR: give total_steps, or epochs and steps_per"),
        (lambda: optim.OneCycleLR(LR, epochs=3), "OneCycleLR: give total_steps, or epochs"),
        (lambda: optim.OneCycleLR(LR, epochs=3, steps_per_epoch=0.5), "steps_per_epoch"),
        (lambda: optim.SequentialLR([LR], [], schedulers=[LR]), "give either"),
        (lambda: optim.SequentialLR([], []), "SequentialLR: give schedules"),
        (lambda: optim.SequentialLR([optim.Constant(LR)] * 3, [5]), "2 rising milestones"),
        (lambda: optim.SequentialLR([optim.Constant(LR)] * 3, [5, 4]), "2 rising milestones"),
    ],
)
def test_an_illegal_schedule_says_why(make, names):
    with pytest.raises(ArgumentError, match=names):
        make()


PLATEAUS = [
    {},
    {"patience": 2},
    {"patience": 0, "factor": 0.5, "cooldown": 3, "min_lr": 0.01},
    {"patience": 1, "mode": "max", "threshold": 0.05},
    {"patience": 1, "threshold_mode": "abs", "threshold": 0.1},
    {"patience": 1, "mode": "max", "threshold_mode": "abs", "threshold": 0.2, "eps": 0.1},
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_a_plateau_follows_pytorch(options):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    values = np.random.default_rng(0).normal(1, 0.3, 60)
    values[7] = np.nan
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=LR)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **{"patience": 10, **options})
    schedule = optim.ReduceLROnPlateau(LR, **options)
    rate = sn.function([], schedule(sn.constant(0)))
    for value in values:
        scheduler.step(float(value))
        schedule.step(value)
        assert schedule.rate == rate() == optimizer.param_groups[0]["lr"]


def test_a_plateau_is_state_of_the_step():
    schedule = optim.ReduceLROnPlateau(LR, patience=0)
    w = sn.variable(np.ones(2), "w")
    step = sn.function([], [], updates=optim.SGD(schedule).minimize(sn.sum(w)))
    schedule.step(1.0)
    schedule.step(2.0)
    kept = step.state_dict()
    step()
    np.testing.assert_allclose(w.value, 1 - LR * 0.1)
    schedule.step(3.0)
    assert schedule.rate == pytest.approx(LR * 0.01)
    step.load_state_dict(kept)
    assert schedule.rate == pytest.approx(LR * 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "least"}, "mode must be"),
        ({"factor": 1.0}, "factor must be"),
        ({"threshold_mode": "both"}, "threshold_mode must be"),
        ({"patience": -1}, "patience"),
        ({"factor": "a"}, "factor must be a number"),
        ({"min_lr": None}, "min_lr must be a number"),
    ],
)
def test_a_plateau_refuses_what_pytorch_has_not(options, message):
    with pytest.raises(ArgumentError, match=message):
        optim.ReduceLROnPlateau(LR, **options)
    with pytest.raises(ArgumentError, match="step takes a number"):
        optim.ReduceLROnPlateau(LR).step("good")


@pytest.mark.parametrize(
    "schedule",
    [
        optim.Constant,
        lambda lr: optim.ConstantLR(lr, 0.5, 3), lambda f: optim.ConstantLR(1.0, f, 3),
        lambda lr: optim.LambdaLR(lr, lambda t: 1.0), lambda lr: optim.StepLR(lr, 2),
        lambda lr: optim.CyclicLR(lr, 0.3, 3), lambda lr: optim.OneCycleLR(lr, 10),
    ],
)  # fmt: skip
def test_a_rate_may_be_a_node(schedule):
    t, rate = sn.placeholder((), "int64", name="t"), sn.variable(np.float64(0.125), "rate")
    held = sn.function(t, schedule(rate)(t), device="numpy")
    fixed = sn.function(t, schedule(0.125)(t), device="numpy")
    for step in (0, 2, 3, 5):
        assert held(step) == pytest.approx(fixed(step))
