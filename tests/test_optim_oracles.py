"""Every optimizer with its options against PyTorch's and Optax's: 200 steps in float64."""

import numpy as np
import pytest

import staticnet as sn
from staticnet import optim

STEPS, TOLERANCE = 200, 1e-12
DATA = np.random.default_rng(7)
W = DATA.normal(size=(3, 2)) * 0.5
B = DATA.normal(size=2) * 0.5
X = DATA.normal(size=(5, 3))

TORCH = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.02, "momentum": 0.9}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1, "eps": 1e-6}),
    ("Adagrad", {"initial_accumulator_value": 0.3, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-5, "weight_decay": 0.1}),
    ("Adadelta", {"maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 1e-3, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 1e-3, "alpha": 0.95, "eps": 0.1, "centered": True}),
    ("RMSprop", {"lr": 1e-3, "eps": 1e-3, "centered": True, "momentum": 0.5, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "maximize": True}),
    ("Adam", {"betas": (0.0, 0.9), "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.2, "amsgrad": True}),
    ("AdamW", {"maximize": True, "weight_decay": 0.0}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"momentum_decay": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-4, 0.2), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.05, "lambd": 0.1, "alpha": 0.5, "t0": 50, "weight_decay": 0.1}),
    ("ASGD", {"t0": -3, "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"beta2_decay": -0.9, "weight_decay": 0.1, "d": 1.5}),
    ("Adafactor", {"lr": 0.005, "eps": (1e-3, 0.05), "maximize": True}),
]
OPTAX = [
    ("Lion", "lion", {"lr": 1e-3}),
    ("Lion", "lion", {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1}),
    ("LAMB", "lamb", {"lr": 1e-3}),
    ("LAMB", "lamb", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "eps_root": 1e-8}),
    ("LAMB", "lamb", {"lr": 1e-3, "weight_decay": 0.1}),
]


def bumpy_loss(lib, x, w, b):
    """Not convex; the linear terms keep every gradient away from 0."""
    hidden = lib.tanh(x @ w + b)
    return lib.mean(lib.sin(2 * hidden)) + 0.3 * lib.sum(w) + 0.7 * lib.sum(b)


def trained(make_updates, steps=STEPS):
    """The two parameters after training from (W, B), and their updates."""
    w, b = sn.variable(W, "w"), sn.variable(B, "b")
    updates = make_updates(bumpy_loss(sn, sn.constant(X), w, b), w, b)
    step = sn.function([], [], updates=updates)
    for _ in range(steps):
        step()
    return w, b, updates


@pytest.fixture
def torch():
    """PyTorch in float64 throughout: NAdam's product of momenta has the default dtype."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(torch.float32)


def torch_trained(torch, make_optimizer, make_scheduler=None):
    w, b = (torch.tensor(value, requires_grad=True) for value in (W, B))
    optimizer, x = make_optimizer(w, b), torch.tensor(X)
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    for _ in range(STEPS):
        optimizer.zero_grad()
        bumpy_loss(torch, x, w, b).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return w, b, optimizer.state


def assert_close(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        theirs = np.asarray(theirs)
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert error <= TOLERANCE, f"relative error {error}"


def case_name(value):
    return value if isinstance(value, str) else "-".join(value) or "defaults"


@pytest.mark.parametrize(("name", "options"), TORCH, ids=case_name)
def test_parameters_and_state_follow_pytorch(torch, name, options):
    w, b, updates = trained(lambda loss, w, b: getattr(optim, name)(**options).minimize(loss))
    tw, tb, state = torch_trained(
        torch, lambda w, b: getattr(torch.optim, name)([w, b], foreach=False, **options)
    )
    assert_close([w.value, b.value], [tw.detach(), tb.detach()])
    assert not np.allclose(w.value, W, rtol=1e-3)
    for ours, theirs in ((w, tw), (b, tb)):
        for key, variable in updates.state[ours].items():
            assert_close([variable.value], [state[theirs][key]])
    assert updates.step.value == STEPS


@pytest.mark.parametrize(("name", "oracle", "options"), OPTAX, ids=case_name)
def test_parameters_follow_optax(name, oracle, options):
    jax = pytest.importorskip("jax", reason="JAX runs the oracle")
    optax = pytest.importorskip("optax", reason="Optax is the oracle")
    w, b, _ = trained(lambda loss, w, b: getattr(optim, name)(**options).minimize(loss))
    theirs = {k: v for k, v in options.items() if k not in ("lr", "betas")}
    if "betas" in options:
        theirs |= dict(zip(("b1", "b2"), options["betas"], strict=True))
    with jax.enable_x64(True):
        transform = getattr(optax, oracle)(options["lr"], **theirs)
        params = (jax.numpy.asarray(W), jax.numpy.asarray(B))
        state = transform.init(params)

        @jax.jit
        def advance(params, state):
            grads = jax.grad(lambda p: bumpy_loss(jax.numpy, X, *p))(params)
            changes, state = transform.update(grads, state, params)
            return optax.apply_updates(params, changes), state

        for _ in range(STEPS):
            params, state = advance(params, state)
        assert_close([w.value, b.value], params)
    assert not np.allclose(w.value, W, rtol=1e-3)


def test_groups_follow_pytorch(torch):
    def groups(w, b):
        return [{"params": [w], "weight_decay": 0.3}, {"params": b, "lr": 5e-3, "amsgrad": True}]

    w, b, _ = trained(lambda loss, w, b: optim.AdamW(lr=2e-3).minimize(loss, groups(w, b)))
    tw, tb, _ = torch_trained(
        torch, lambda w, b: torch.optim.AdamW(groups(w, b), lr=2e-3, foreach=False)
    )
    assert_close([w.value, b.value], [tw.detach(), tb.detach()])


@pytest.mark.parametrize(
    ("name", "options"), [("SGD", {"momentum": 0.9}), ("Rprop", {}), ("ASGD", {"lambd": 0.1})]
)
def test_a_schedule_follows_pytorch(torch, name, options):
    schedule = optim.CosineAnnealingLR(0.05, T_max=2 * STEPS, eta_min=1e-3)
    w, b, _ = trained(lambda loss, w, b: getattr(optim, name)(schedule, **options).minimize(loss))
    tw, tb, _ = torch_trained(
        torch,
        lambda w, b: getattr(torch.optim, name)([w, b], lr=0.05, foreach=False, **options),
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, T_max=2 * STEPS, eta_min=1e-3
        ),
    )
    assert_close([w.value, b.value], [tw.detach(), tb.detach()])


MUON = [
    {},
    {"lr": 0.05, "nesterov": False, "weight_decay": 0.0},
    {"lr": 0.02, "momentum": 0.8, "ns_steps": 3, "adjust_lr_fn": "match_rms_adamw"},
    {"lr": 0.02, "ns_coefficients": (2.0, -1.5, 0.5), "eps": 0.5, "adjust_lr_fn": "original"},
]


@pytest.mark.parametrize("options", MUON, ids=case_name)
@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (3, 3)])
def test_muon_follows_pytorch(torch, monkeypatch, options, shape):
    """PyTorch iterates in bfloat16; here in float64, as we do."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    first = np.random.default_rng(1).normal(size=shape)
    aim = np.random.default_rng(2).normal(size=shape)
    w = sn.variable(first, "w")
    step = sn.function([], [], updates=optim.Muon(**options).minimize(sn.sum((w - aim) ** 4)))
    theirs = torch.tensor(first, requires_grad=True)
    optimizer = torch.optim.Muon([theirs], **options)
    for _ in range(60):
        step()
        optimizer.zero_grad()
        ((theirs - torch.tensor(aim)) ** 4).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(w.value, theirs.detach(), rtol=1e-9)
    assert not np.allclose(w.value, first, rtol=1e-3)


def test_rules_of_matrices_refuse():
    from staticnet.errors import ArgumentError, ShapeError

    b = sn.variable(B, "b")
    with pytest.raises(ShapeError, match=r"Muon: takes matrices, and b f64\[2\] is none"):
        optim.Muon().minimize(sn.sum(b * b))
    for options in ({"ns_steps": 100}, {"ns_coefficients": (1, 2)}, {"adjust_lr_fn": "other"}):
        with pytest.raises(ArgumentError, match="Muon: "):
            optim.Muon(**options)
    for options in ({"eps": 1e-3}, {"eps": (-1, 1)}, {"beta2_decay": 0.5}, {"d": 0.5}):
        with pytest.raises(ArgumentError, match="Adafactor: "):
            optim.Adafactor(**options)


def test_adafactor_makes_pytorchs_steps_where_a_path_amplifies_roundings(torch):
    """With beta2_decay=-0.5 differences grow fivefold a step from step 160 on, PyTorch's own, too:
    each step is made from where PyTorch's path is."""
    rule = optim.Adafactor(beta2_decay=-0.5)
    w, b, updates = trained(lambda loss, w, b: rule.minimize(loss), steps=0)
    step = sn.function([], [], updates=updates)
    theirs = [torch.tensor(value, requires_grad=True) for value in (W, B)]
    optimizer = torch.optim.Adafactor(theirs, beta2_decay=-0.5, foreach=False)
    for _ in range(STEPS):
        for ours, tensor in zip((w, b), theirs, strict=True):
            ours.value = tensor.detach().numpy()
            for name, kept in updates.state[ours].items():
                if tensor in optimizer.state:
                    kept.value = optimizer.state[tensor][name].numpy()
        optimizer.zero_grad()
        bumpy_loss(torch, torch.tensor(X), *theirs).backward()
        optimizer.step()
        step()
        assert_close([w.value, b.value], [tensor.detach() for tensor in theirs])
