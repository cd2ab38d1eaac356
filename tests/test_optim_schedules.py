"""Schedules against PyTorch's schedulers in float64, step by step."""

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
@pytest.mark.parametrize("options", [{}, {"pct_start": 0.45, "div_factor": 7.0}])
def test_one_cycle_follows_pytorch(strategy, options):
    options = {"total_steps": STEPS + 1, "anneal_strategy": strategy, **options}
    expected = theirs(lambda library, optimizer: library.OneCycleLR(optimizer, LR, **options))
    np.testing.assert_allclose(ours(optim.OneCycleLR(LR, **options)), expected, rtol=1e-12)


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
    found = ours(optim.SequentialLR(parts, milestones))
    np.testing.assert_allclose(found, theirs(sequence), rtol=1e-12, atol=1e-15)


def test_constant_and_python_steps():
    assert (ours(optim.Constant(LR)) == LR).all()
    assert sn.function([], optim.ExponentialLR(1.0, 0.5)(3))() == 0.125


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: optim.StepLR(LR, 0), "StepLR: step_size"),
        (lambda: optim.CosineAnnealingLR(LR, 2.5), "CosineAnnealingLR: T_max"),
        (lambda: optim.LinearLR(LR, total_iters=-1), "LinearLR: total_iters"),
        (lambda: optim.OneCycleLR(LR, 10, anneal_strategy="step"), "OneCycleLR: anneal_strategy"),
        (lambda: optim.OneCycleLR(LR, 10, pct_start=1.0), "OneCycleLR: pct_start"),
        (lambda: optim.SequentialLR([optim.Constant(LR)] * 3, [5]), "2 rising milestones"),
        (lambda: optim.SequentialLR([optim.Constant(LR)] * 3, [5, 4]), "2 rising milestones"),
    ],
)
def test_an_illegal_schedule_says_why(make, names):
    with pytest.raises(ArgumentError, match=names):
        make()
