"""`sn.train.recipe`: each check finds its seeded fault, and all are silent on healthy models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from healthy_models import HEALTHY, clusters

import staticnet as sn
from staticnet import nn
from staticnet.cli.main import main
from staticnet.errors import ArgumentError
from staticnet.train import checks
from staticnet.train.checks import CHECKS, Seen

F = nn.functional
BCE = F.binary_cross_entropy


@dataclass
class Fault:
    """A model and data with one fault; what else differs from a healthy one has defaults."""

    model: Any = None
    loss: Any = nn.cross_entropy
    data: Any = None
    optimizer: Any = None
    options: dict[str, Any] = field(default_factory=dict)


def linear(classes: int = 4, end: nn.Module | None = None) -> nn.Module:
    nn.manual_seed(0)
    layers = [nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, classes)]
    return nn.Sequential(*layers, *([] if end is None else [end]))


def blobs() -> tuple[Any, Any]:
    return clusters(200, 4, (12,))


def of_inputs(change: Callable[[Any], Any]) -> Fault:
    x, y = blobs()
    return Fault(data=(change(x), y))


def twice() -> Fault:
    x, y = blobs()
    return Fault(data=(np.concatenate([x, x[:50]]), np.concatenate([y, (y[:50] + 1) % 4])))


def leaking() -> Fault:
    x, y = blobs()
    return Fault(options={"validation": (x[:60], y[:60])})


def with_nan(x: Any) -> Any:
    x[3, 2] = np.nan
    return x


def blank_images() -> Fault:
    x, y = clusters(120, 4, (1, 8, 8))
    x[[7, 20]] = 0.5
    return Fault(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), data=(x, y))


def unbalanced() -> Fault:
    x, y = blobs()
    rare = np.flatnonzero(y == 3)[3:]
    return Fault(data=(np.delete(x, rare, 0), np.delete(y, rare)))


def from_one(classes: int) -> Fault:
    x, y = blobs()
    return Fault(linear(classes), data=(x, y + 1))


def tokens(ahead: int) -> Fault:
    text = np.random.default_rng(0).integers(0, 9, (80, 14))
    nn.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 16), nn.Linear(16, 9))
    x, y = text[:, :10], text[:, ahead : 10 + ahead]
    return Fault(model, lambda o, y: nn.cross_entropy(sn.permute_dims(o, (0, 2, 1)), y), (x, y))


def in_order() -> Fault:
    x, y = blobs()
    order = np.argsort(y, kind="stable")
    return Fault(data=(x[order], y[order]), options={"shuffle": False, "batch_size": 16})


class AlwaysDrops(nn.Module):
    def __init__(self) -> None:
        self.inner = linear()

    def forward(self, x: Any) -> Any:
        return F.dropout(self.inner(x), 0.2)


class Mixed(nn.Module):
    """A reshape where axes were to be exchanged: [n, 3, 4] -> [4, n, 3] of other examples."""

    def __init__(self) -> None:
        self.inner = nn.Linear(3, 8)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Any) -> Any:
        steps = sn.reshape(sn.reshape(x, (-1, 3, 4)), (4, -1, 3))
        seen = sn.relu(self.inner(steps))
        return self.head(sn.reshape(sn.permute_dims(seen, (1, 0, 2)), (-1, 32)))


class Blind(nn.Module):
    def __init__(self) -> None:
        self.inner = linear()

    def forward(self, x: Any) -> Any:
        return self.inner(x * 0)


class Rounded(nn.Module):
    def __init__(self) -> None:
        self.first, self.last = nn.Linear(12, 32), nn.Linear(32, 4)

    def forward(self, x: Any) -> Any:
        return self.last(sn.round(3 * self.first(x)))


def binary(loss: Any, end: nn.Module | None) -> Fault:
    x, y = clusters(200, 2, (12,))
    return Fault(linear(1, end), loss, (x, y[:, None].astype(np.float32)))


def numbers() -> Fault:
    x, y = blobs()
    return Fault(linear(1), nn.mse_loss, (x, y[:, None].astype(np.float32)))


def unreachable() -> Fault:
    x, _ = blobs()
    y = np.sin(x[:, :1]).astype(np.float32)
    return Fault(linear(1, nn.ReLU()), nn.mse_loss, (x, y))


def far_from_targets() -> Fault:
    x, _ = blobs()
    y = (100 + np.sin(x[:, :1])).astype(np.float32)
    return Fault(linear(1), nn.mse_loss, (x, y))


def confident() -> Fault:
    model = linear()
    model.get_parameter("2.weight").value = 60 * model.get_parameter("2.weight").value
    return Fault(model)


def dead() -> Fault:
    model = linear()
    model.get_parameter("0.bias").value = np.full(32, -50, np.float32)
    return Fault(model)


def evaluating() -> Fault:
    model = nn.Sequential(linear(), nn.Dropout(0.1))
    model.eval()
    return Fault(model)


FAULTS: dict[str, tuple[str, Callable[[], Fault]]] = {
    "duplicates": ("duplicates", twice),
    "leakage": ("leakage", leaking),
    "nan": ("ranges", lambda: of_inputs(with_nan)),
    "blank": ("corrupt images", blank_images),
    "unbalanced": ("label balance", unbalanced),
    "beyond": ("labels off by one", lambda: from_one(4)),
    "no zero": ("labels off by one", lambda: from_one(5)),
    "same token": ("labels off by one", lambda: tokens(0)),
    "two ahead": ("labels off by one", lambda: tokens(2)),
    "in order": ("shuffling", in_order),
    "drops": ("mode", lambda: Fault(AlwaysDrops())),
    "evaluating": ("mode", evaluating),
    "bytes": ("normalisation", lambda: of_inputs(lambda x: 127 + 60 * x)),
    "other scale": ("normalisation", lambda: Fault(options={
        "validation": (40 * clusters(80, 4, (12,), 1)[0], clusters(80, 4, (12,), 1)[1])})),
    "softmax twice": ("loss for the output", lambda: Fault(linear(4, nn.Softmax(1)))),
    "sigmoid twice": ("loss for the output", lambda: binary(
        F.binary_cross_entropy_with_logits, nn.Sigmoid())),
    "logits": ("loss for the output", lambda: binary(BCE, None)),
    "numbers": ("loss for the output", numbers),
    "unreachable": ("loss for the output", unreachable),
    "confident": ("initial loss", confident),
    "far": ("initial loss", far_from_targets),
    "mixed": ("dependence across the batch", lambda: Fault(Mixed())),
    "rounded": ("gradients", lambda: Fault(Rounded())),
    "dead": ("dead and saturated units", dead),
    "blind": ("input-independent baseline", lambda: Fault(Blind())),
    "uphill": ("overfit one batch", lambda: Fault(loss=lambda o, y: -nn.cross_entropy(o, y))),
    "still": ("overfit one batch", lambda: Fault(optimizer=sn.optim.SGD(1e-7))),
    "too fast": ("learning rate", lambda: Fault(optimizer=sn.optim.SGD(300.0))),
    "too slow": ("learning rate", lambda: Fault(optimizer=sn.optim.Adam(1e-7))),
}  # fmt: skip


def looked_at(fault: Fault) -> sn.train.Recipe:
    model = linear() if fault.model is None else fault.model
    optimizer = fault.optimizer or sn.optim.Adam(1e-2)
    trainer = sn.train.Trainer(model, fault.loss, optimizer, device="numpy")
    state = {name: value.copy() for name, value in model.state_dict().items()}
    data = blobs() if fault.data is None else fault.data
    found = sn.train.recipe(trainer, data, **fault.options)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found(name: str) -> None:
    check, made = FAULTS[name]
    found = looked_at(made())
    faults = {fault.check: fault for fault in found.faults}
    assert check in faults, str(found)
    assert "tests/" in faults[check].line
    assert faults[check].saw


def test_every_check_has_a_fault() -> None:
    assert len({check for check, _ in FAULTS.values()}) == len(CHECKS)


@pytest.mark.parametrize(
    "name", [n if n == "mlp" else pytest.param(n, marks=pytest.mark.slow) for n in HEALTHY]
)
def test_healthy_models_have_no_fault(name: str) -> None:
    case = HEALTHY[name]()
    rate = 1e-2 if name in ("regression", "recurrent") else 3e-3
    trainer = sn.train.Trainer(case.model, case.loss, sn.optim.Adam(rate), device="numpy")
    part = len(case.x) * 3 // 4
    found = sn.train.recipe(
        trainer, (case.x[:part], case.y[:part]), validation=(case.x[part:], case.y[part:])
    )
    assert not found.faults, str(found)
    assert len(found.seen) > 10


def test_it_shows_itself_and_training_goes_on_as_if_nothing_was() -> None:
    x, y = blobs()

    def losses(looks: bool) -> Any:
        trainer = sn.train.Trainer(linear(), nn.cross_entropy, sn.optim.Adam(1e-2), device="numpy")
        if looks:
            found = sn.train.recipe(trainer, (x, y))
            assert repr(found) == str(found)
            assert str(found).endswith(f"no fault in {len(found.seen)} checks")
            assert "<table>" in found._repr_html_()
        return trainer.fit((x, y), epochs=1, progress=False).step_losses

    np.testing.assert_array_equal(losses(True), losses(False))


def test_the_loss_at_the_start_is_expected_of_all_labels() -> None:
    """Of 256 examples the classes' shares are by chance; of all 640 they are equal: ln 4."""
    trainer = sn.train.Trainer(linear(), nn.cross_entropy, sn.optim.Adam(1e-2), device="numpy")
    found = looked_at_until("initial loss", trainer, clusters(640, 4, (12,)))
    assert found.saw.endswith("on 256 examples, and 1.386 on 640")


def looked_at_until(check: str, trainer: sn.train.Trainer, data: Any) -> Seen:
    seen = checks.looked_at(trainer, data, None, 32, True, "here")
    return next(each for each in seen if each.check == check)


def test_what_cannot_be_looked_at() -> None:
    trainer = sn.train.Trainer(linear(), nn.cross_entropy)
    with pytest.raises(ArgumentError, match="no optimizer"):
        sn.train.recipe(trainer, blobs())
    trainer = sn.train.Trainer(linear(), nn.cross_entropy, sn.optim.SGD(0.1))
    with pytest.raises(ArgumentError, match="recipe: data is a pair"):
        sn.train.recipe(trainer, 3)


SCRIPT = """
import sys
import numpy as np
import staticnet as sn
rng = np.random.default_rng(0)
y = np.sort(rng.integers(0, 3, 120))
x = (np.eye(3)[y] + 0.1 * rng.standard_normal((120, 3))).astype(np.float32)
model = sn.nn.Sequential(sn.nn.Linear(3, 16), sn.nn.ReLU(), sn.nn.Linear(16, 3))
trainer = sn.train.Trainer(model, "cross_entropy", sn.optim.Adam(1e-2), device="numpy")
if sys.argv[1:] != ["--idle"]:
    try:
        trainer.fit((x, y), epochs=100, shuffle=False, batch_size=16)
    except Exception:
        pass
    print("trained")
"""


def test_the_command(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "train.py"
    file.write_text(SCRIPT)
    fit = sn.train.Trainer.fit
    assert main(["recipe", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "FAULT  shuffling" in shown
    assert "train.py:" in shown
    assert "trained" not in shown
    assert sn.train.Trainer.fit is fit
    assert main(["recipe", str(file), "--idle"]) == 2
    assert "ended without Trainer.fit" in capsys.readouterr().err
    assert main(["recipe", str(tmp_path / "none.py")]) == 2


@pytest.mark.parametrize("number", ["0", "-3", "one"])
def test_fits_are_counted_from_one(number: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["recipe", "--fit", number, str(tmp_path / "train.py")])
    assert "give a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_another_fit_and_steps_of_ones_own(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "train.py"
    file.write_text(f"{SCRIPT}{SECOND}")
    before = sn.train.Trainer.fit, sn.Function.__call__, sn.Function.run
    assert main(["recipe", "--fit", "2", str(file)]) == 0
    shown = capsys.readouterr().out
    assert f"train.py:{len(SCRIPT.splitlines()) + 2}: what Trainer.fit is given" in shown
    assert "FAULT  shuffling" not in shown
    assert main(["recipe", str(file), "--idle"]) == 0
    shown = capsys.readouterr().out
    assert "a training step of the script's own" in shown
    assert "wrong broadcast" in shown
    assert (sn.train.Trainer.fit, sn.Function.__call__, sn.Function.run) == before


SECOND = """
if sys.argv[1:] != ["--idle"]: trainer.fit((x, y))
u, v = sn.placeholder(("batch", 3), name="u"), sn.placeholder(("batch",), name="v")
off = sn.mean((model(u)[:, :1] - v) ** 2)
step = sn.function([u, v], off, sn.optim.SGD(0.1).minimize(off), device="numpy")
step.run(3, x, y.astype("float32"), batch_size=16)
"""


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("1 / 0", 1, "ZeroDivisionError"),
        ("def f(", 1, "SyntaxError"),
        ("import sys; sys.exit(0)", 2, "ended without Trainer.fit"),
        ("import sys; sys.exit('no data')", 1, "no data"),
        ("import staticnet as sn; sn.variable([1, 2]) + sn.variable([1, 2, 3])", 2, "broadcast"),
    ],
)
def test_scripts_that_end_before(
    text: str, status: int, told: str, tmp_path: Path, capsys: Any
) -> None:
    file = tmp_path / "train.py"
    file.write_text(text)
    try:
        found = main(["recipe", str(file)])
        shown = capsys.readouterr().err
    except SystemExit as end:
        found, shown = 1, str(end.code)
    assert found == status
    assert told in shown
    assert "runpy" not in shown
