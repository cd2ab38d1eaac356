"""`Trainer`: it trains as the step that one would write, measures what one would, and refuses."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training import CLASSES, FEATURES, examples, network, trainer

import staticnet as sn
from staticnet import nn, optim
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import ArgumentError, DataError, ShapeError, StateError
from staticnet.train import Callback, EarlyStopping, LearningRateFinder, Trainer
from staticnet.train.data import ArraySource

COMPILES = True
X, Y = examples()
XV, YV = examples(33, 1)
DEVICES = [
    "numpy",
    pytest.param("cpu", marks=pytest.mark.skipif(find_compiler() is None, reason="no C compiler")),
]


def plain(**options: Any) -> Trainer:
    rule = options.pop("optimizer", optim.SGD(0.1))
    return Trainer(network(), "cross_entropy", rule, device="numpy", **options)


@pytest.mark.parametrize("device", DEVICES)
def test_it_is_the_step_that_one_would_write(device: str) -> None:
    """Batches of 16 of 70 in the order of `run`, and the last six."""
    model = network()
    x = sn.placeholder(("batch", FEATURES), name="x")
    y = sn.placeholder(("batch",), "int64", name="y")
    loss = nn.cross_entropy(model(x), y)
    step = sn.function([x, y], loss, updates=optim.AdamW(0.01).minimize(loss), device=device)
    expected: list[float] = []
    for epoch in range(3):
        order = sn.function([], sn.random.permutation(sn.random.key(5, epoch), len(X)))()
        for first in range(0, len(X), 16):
            rows = order[first : first + 16]
            expected.append(step(X[rows], Y[rows]))
    ours = Trainer(network(), nn.cross_entropy, optim.AdamW(0.01), device=device)
    history = ours.fit((X, Y), epochs=3, batch_size=16, seed=5, progress=False)
    np.testing.assert_array_equal(history.step_losses, expected)
    sizes = [16, 16, 16, 16, 6]
    by_epoch = np.array(expected, "float64").reshape(3, 5) @ sizes / 70
    np.testing.assert_allclose(history["loss"], by_epoch, rtol=1e-12)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(ours.model.state_dict()[name], value)


def test_validation_and_evaluation_are_of_the_eval_mode() -> None:
    ours = plain(metrics=("accuracy", "confusion_matrix"))
    history = ours.fit((X, Y), validation=(XV, YV), epochs=4, batch_size=16, progress=False)
    model = network().eval()
    model.load_state_dict(ours.model.state_dict())
    x = sn.placeholder(("n", FEATURES), name="x")
    scores = sn.function(x, model(x), device="numpy")(XV)
    found = ours.evaluate((XV, YV), batch_size=10)
    shifted = scores - np.log(np.exp(scores.astype("f8")).sum(1, keepdims=True))
    assert found["loss"] == pytest.approx(-shifted[np.arange(33), YV].mean(), rel=1e-6)
    assert found["accuracy"] == np.mean(scores.argmax(1) == YV)
    assert found["confusion_matrix"].sum() == 33
    assert history["val_accuracy"][-1] == found["accuracy"]
    assert history["val_loss"][-1] == pytest.approx(found["loss"], rel=1e-6)
    np.testing.assert_allclose(ours.predict(XV, batch_size=7), scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.predict(XV.tolist()), scores, rtol=1e-5, atol=1e-6)
    assert model.training is False
    assert ours.model.training is True


def test_it_learns_and_the_history_shows_it() -> None:
    history = plain(metrics="accuracy").fit(
        (X, Y), validation=(XV, YV), epochs=15, batch_size=8, progress=False
    )
    assert history["val_accuracy"][-1] > 0.9
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "lr"]
    assert len(history) == 15
    lines = repr(history).splitlines()
    assert lines[0].split() == ["epoch", *history]
    assert len(lines) == 16
    assert lines[-1].split()[1] == f"{history['loss'][-1]:.4g}"
    assert history._repr_html_().count("<tr>") == 16
    with pytest.raises(KeyError, match="did you mean val_accuracy"):
        history["val_acuracy"]


@pytest.mark.slow
def test_a_history_as_a_table_and_a_picture(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    history = trainer(accumulate=1).fit((X, Y), epochs=2, progress=False)
    frame = history.to_dataframe()
    assert isinstance(frame, pd.DataFrame)
    assert frame["loss"].tolist() == history["loss"]
    assert frame.index.tolist() == [1, 2]
    figure = history.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy", "lr"]


def test_accumulated_and_clipped_is_one_step_on_the_whole_batch() -> None:
    """Four batches of 4 and one of 16: the mean of their gradients is clipped, not each of them."""
    nn.manual_seed(0)
    state = nn.Linear(FEATURES, CLASSES).double().state_dict()

    def trained(batch_size: int, accumulate: int) -> Any:
        model = nn.Linear(FEATURES, CLASSES).double()
        model.load_state_dict(state)
        ours = Trainer(
            model, nn.cross_entropy, optim.SGD(0.5), accumulate=accumulate, clip_norm=0.3,
            device="numpy",
        )  # fmt: skip
        ours.fit((X[:64], Y[:64]), epochs=3, batch_size=batch_size, shuffle=False, progress=False)
        return model.weight.value

    np.testing.assert_allclose(trained(4, 4), trained(16, 1), rtol=1e-12)
    assert not np.allclose(trained(16, 1), trained(8, 1), rtol=1e-3)


def test_averages_predict_and_evaluate() -> None:
    ours = plain(ema=0.5)
    first = network().state_dict()
    history = ours.fit((X, Y), validation=(XV, YV), epochs=1, batch_size=35, progress=False)
    step = ours.training_step()
    assert len(history.step_losses) == 2
    model = network().eval()
    model.load_state_dict(ours.model.state_dict())
    for name, w in ours.model.named_parameters():
        shadow = step.updates.shadows[w].value
        if name == "1.weight":
            assert not np.array_equal(shadow, w.value)
            assert not np.array_equal(shadow, first[name])
        model.get_parameter(name).value = shadow
    x = sn.placeholder(("n", FEATURES), name="x")
    expected = sn.function(x, model(x), device="numpy")(XV)
    np.testing.assert_allclose(ours.predict(XV), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_scales_the_loss_where_it_must(precision: str) -> None:
    ours = plain(precision=precision, accumulate=2)
    history = ours.fit((X, Y), epochs=6, batch_size=16, progress=False)
    assert history["loss"][-1] < history["loss"][0]
    names = ours.training_step().function.state_dict()
    assert ("loss_scale" in names) == (precision == "float16")


def test_a_rate_that_needs_the_validation() -> None:
    rate = optim.ReduceLROnPlateau(0.1, patience=0, threshold=10, threshold_mode="abs")
    history = plain(optimizer=optim.SGD(rate)).fit(
        (X, Y), validation=(XV, YV), epochs=4, progress=False
    )
    np.testing.assert_allclose(history["lr"], [0.1, 0.1, 0.01, 0.001])
    with pytest.raises(ArgumentError, match="an epoch has no 'val_loss', but loss, lr; give fit"):
        plain(optimizer=optim.SGD(rate)).fit((X, Y), progress=False)


def test_early_stopping_restores_the_best() -> None:
    class Worse(Callback):
        """Makes the second epoch the best, whatever happens."""

        def on_epoch_end(self, trainer: Any) -> None:
            row = trainer.history.epochs[-1]
            row["val_loss"] = [3.0, 1.0, 2.0, 2.0, 0.5][trainer.epoch - 1]
            if trainer.epoch == 2:
                self.best = trainer.model.state_dict()

    worse, stop = Worse(), EarlyStopping(patience=2, restore_best_weights=True)
    ours = plain()
    history = ours.fit((X, Y), epochs=9, callbacks=[worse, stop], progress=False)
    assert len(history) == 4
    assert (stop.stopped_epoch, stop.best) == (4, 1.0)
    for name, value in ours.model.state_dict().items():
        np.testing.assert_array_equal(value, worse.best[name])


def test_a_rate_is_found_and_the_weights_are_kept() -> None:
    before = network().state_dict()
    finder = LearningRateFinder(1e-5, 10, num_training_steps=60, update=False)
    ours = plain()

    class Look(Callback):
        def on_fit_start(self, trainer: Any) -> None:
            for name, value in trainer.model.state_dict().items():
                np.testing.assert_array_equal(value, before[name])
            trainer.should_stop = True

    ours.fit((X, Y), batch_size=16, callbacks=[finder, Look()], progress=False)
    assert finder.suggestion is not None
    assert 1e-4 < finder.suggestion < 10
    assert finder.rates[0] == pytest.approx(1e-5)
    assert np.diff(np.log(finder.rates)) == pytest.approx(np.log(1e6) / 59)
    ours = plain()
    ours.fit((X, Y), batch_size=16, callbacks=LearningRateFinder(1e-5, 10), progress=False)
    assert ours.history["lr"] == [ours.optimizer.lr]  # type: ignore[union-attr]
    assert ours.optimizer.lr != 0.1  # type: ignore[union-attr]
    with pytest.raises(ArgumentError, match="SGD's lr is StepLR"):
        plain(optimizer=optim.SGD(optim.StepLR(0.1, 5))).fit(
            (X, Y), callbacks=LearningRateFinder(), progress=False
        )


def test_ctrl_c_ends_the_epoch_and_gives_the_history(capsys: Any) -> None:
    class Interrupt(Callback):
        def steps_until(self, trainer: Any) -> int:
            return 1

        def on_steps(self, trainer: Any) -> None:
            if trainer.step == 12:
                os.kill(os.getpid(), signal.SIGINT)

    ours = plain()
    history = ours.fit((X, Y), epochs=5, batch_size=8, callbacks=Interrupt())
    assert history.interrupted
    assert len(history.step_losses) == 12
    assert len(history) == 1
    assert "interrupted in epoch 2 at step 12" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_fit_goes_on_after_another() -> None:
    whole = plain().fit((X, Y), epochs=4, batch_size=16, progress=False)
    ours = plain()
    for _ in range(2):
        history = ours.fit((X, Y), epochs=2, batch_size=16, progress=False)
    np.testing.assert_array_equal(history.step_losses, whole.step_losses)
    assert history["loss"] == whole["loss"]


def test_several_inputs_and_outputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            self.left, self.right = nn.Linear(FEATURES, 4), nn.Linear(2, 4)
            self.head = nn.Linear(4, CLASSES)

        def forward(self, a: Any, b: Any) -> Any:
            h = nn.relu(self.left(a) + self.right(b))
            return {"scores": self.head(h), "hidden": h}

    def loss(outputs: Any, targets: Any) -> Any:
        return nn.cross_entropy(outputs["scores"], targets)

    extra = np.ones((len(X), 2))  # float64, as NumPy has it
    for inputs in ((X, extra), {"b": extra, "a": X}):
        ours = Trainer(Two(), loss, optim.Adam(0.02), device="numpy")
        history = ours.fit((inputs, Y), epochs=3, progress=False)
        assert history["loss"][-1] < history["loss"][0]
        made = ours.predict(inputs)
        assert made["scores"].shape == (70, CLASSES)
        assert made["hidden"].shape == (70, 4)
        assert made["scores"].dtype == "float32"


def test_drop_last_and_large_batches() -> None:
    count = lambda **options: len(  # noqa: E731
        plain().fit((X, Y), progress=False, **options).step_losses
    )
    assert count(batch_size=16, drop_last=True) == 4
    assert count(batch_size=16) == 5
    assert count(batch_size=500) == 1
    with pytest.raises(ArgumentError, match="a batch of 500 does not fit 70 examples"):
        count(batch_size=500, drop_last=True)


def test_lines_where_there_is_no_terminal_and_a_bar_where_there_is(capsys: Any) -> None:
    plain().fit((X, Y), epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("loss" in line and "examples/s" in line for line in lines)
    plain().fit((X, Y), epochs=1, callbacks=sn.train.ProgressBar(live=True))
    assert "epoch 1/1" in capsys.readouterr().out


class Examples:
    """A data set as PyTorch has them: one example after another."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, number: int) -> Any:
        return X[number], Y[number]


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "model": (lambda: Trainer(len, nn.cross_entropy), ArgumentError, "must be an sn.nn.Module"),  # type: ignore[arg-type]
    "optimizer": (lambda: plain(optimizer="adam"), ArgumentError, "one of sn.optim"),
    "device": (
        lambda: Trainer(network(), nn.cross_entropy, device="gpu"), ArgumentError,
        "use one of auto, cuda, cpu, numpy",
    ),
    "precision": (
        lambda: plain(precision="fp8"), ArgumentError, "precision 'fp8': use one of .*float8",
    ),
    "clip": (lambda: plain(clip_norm=-1.0), ArgumentError, "max_norm must be a number >= 0"),
    "average": (lambda: plain(ema=2.0), ArgumentError, r"decay must be a number in \[0, 1\]"),
    "wrapped": (
        lambda: plain(optimizer=optim.LBFGS(), accumulate=2), ArgumentError,
        "nothing wraps it: leave out clipping, averages, accumulation and scaling",
    ),
    "inputs": (
        lambda: plain().predict((X, Y)), ArgumentError, "Sequential: the inputs: too many",
    ),
    "input": (lambda: plain().fit(({"x": X}, Y)), ArgumentError, "no argument .x.; there"),
    "single examples": (lambda: plain().fit(Examples()), ArgumentError, "come in batches by torch"),
    "loss name": (lambda: Trainer(network(), "crossentropy"), ArgumentError, "cross_entropy"),
    "loss class": (
        lambda: Trainer(network(), nn.CrossEntropyLoss), ArgumentError, "must be a function",
    ),
    "loss shape": (
        lambda: Trainer(network(), lambda o, t: o, optim.SGD(), device="numpy").fit((X, Y)),
        ShapeError, "must give one floating-point scalar",
    ),
    "no optimizer": (
        lambda: Trainer(network(), nn.cross_entropy).fit((X, Y)), ArgumentError, "no optimizer",
    ),
    "no targets": (lambda: plain().fit(X), ArgumentError, "has no targets"),
    "lengths": (lambda: plain().fit((X, Y[:9])), ArgumentError, "x has 70, y has 9"),
    "nothing": (lambda: plain().fit((X[:0], Y[:0])), ArgumentError, "there are no examples"),
    "epochs": (lambda: plain().fit((X, Y), epochs=0), ArgumentError, "fit: epochs must be"),
    "batch": (lambda: plain().fit((X, Y), batch_size=-1), ArgumentError, "fit: batch_size must"),
    "seed": (lambda: plain().fit((X, Y), seed=-1), ArgumentError, "a seed must be"),
    "strings": (lambda: plain().fit((X, ["a"] * 70)), ArgumentError, "no array of examples"),
    "validation": (
        lambda: plain().fit((X, Y), validation=(X, Y.astype("int32"))), ArgumentError,
        r"fit: validation: data are x float32\[n,6\], y int32\[n\], and this trainer was built",
    ),
    "hook": (
        lambda: plain().fit((X, Y), callbacks=type("A", (), {"on_epoch_begin": print})()),
        ArgumentError, "on_epoch_begin would never be called; did you mean on_epoch_end",
    ),
    "callback": (lambda: plain().fit((X, Y), callbacks=[3]), ArgumentError, "3 is no callback"),
    "callback class": (
        lambda: plain().fit((X, Y), callbacks=EarlyStopping), ArgumentError,
        r"give EarlyStopping\(",
    ),
    "monitor name": (
        lambda: plain().fit((X, Y), validation=(X, Y), callbacks=EarlyStopping("val_los")),
        ArgumentError, "no 'val_los', but loss, val_loss, lr$",
    ),
    "monitor": (
        lambda: plain().fit((X, Y), callbacks=EarlyStopping(), progress=False), ArgumentError,
        "EarlyStopping: an epoch has no 'val_loss', but loss, lr; give fit",
    ),
    "nowhere": (
        lambda: plain().fit((X, Y), callbacks=sn.train.Checkpoint()), ArgumentError,
        "Checkpoint: where",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_told(case: Any) -> None:
    run, error, message = case
    with pytest.raises(error, match=message):
        run()


class TestBatches:
    def batches(self) -> list[Any]:
        return [(X[i : i + 16], Y[i : i + 16]) for i in range(0, len(X), 16)]

    @pytest.mark.slow
    def test_any_iterable_trains_as_arrays_do(self) -> None:
        options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "shuffle": False}
        options["progress"] = False
        expected = plain().fit((X, Y), **options).step_losses
        for data in (self.batches(), self.batches, ArraySource(X, Y)):
            history = plain().fit(data, validation=data, **options)
            np.testing.assert_array_equal(history.step_losses, expected)

    @pytest.mark.slow
    def test_a_data_loader(self) -> None:
        torch = pytest.importorskip("torch")
        tensors = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
        loader = torch.utils.data.DataLoader(tensors, batch_size=16)
        history = plain().fit(loader, validation=loader, epochs=2, progress=False)
        arrays = plain().fit((X, Y), epochs=2, batch_size=16, shuffle=False, progress=False)
        np.testing.assert_array_equal(history.step_losses, arrays.step_losses)
        both = plain().fit((torch.tensor(X), torch.tensor(Y)), epochs=2, progress=False)
        assert len(both) == 2
        assert plain().predict(loader).shape == (70, CLASSES)

    def test_a_generator_is_read_once(self) -> None:
        with pytest.raises(DataError, match="generator is read once, and its batches are used up"):
            plain().fit((b for b in self.batches()), epochs=2, progress=False)

        def endless() -> Any:
            while True:
                yield from self.batches()

        history = plain().fit(endless(), epochs=3, steps_per_epoch=4, progress=False)
        assert len(history.step_losses) == 12
        assert len(history) == 3

    def test_a_batch_that_does_not_fit_is_named(self) -> None:
        wrong = [*self.batches()[:2], (X[:4, :3], Y[:4])]
        with pytest.raises(DataError, match=r"data: batch 3: the placeholder x"):
            plain().fit(wrong, progress=False)
        with pytest.raises(ArgumentError, match=r"a batch is a pair .* not ndarray of 70"):
            plain().fit([X], progress=False)
        with pytest.raises(ArgumentError, match="list gives no batches"):
            plain().fit([], progress=False)

    def test_what_an_iterable_raises_is_raised(self) -> None:
        def failing() -> Any:
            yield self.batches()[0]
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            plain().fit(failing, progress=False)


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "first"
    trainer().fit((X, Y), validation=(XV, YV), epochs=5, out=out, progress=False)
    names = sorted(file.name for file in out.iterdir())
    assert names[:3] == ["checkpoints", "config.toml", names[2]]
    assert names[2].startswith("events.out.tfevents.")
    assert names[3:] == ["last", "metrics.csv"]
    kept = sorted(file.name for file in (out / "checkpoints").iterdir())
    assert kept == ["step_12.safetensors", "step_15.safetensors", "step_9.safetensors"]
    assert (out / "last").read_text() == "checkpoints/step_15.safetensors\n"
    assert len((out / "metrics.csv").read_text().splitlines()) == 6
    with pytest.raises(StateError, match="has a run of 15 steps; go on with it by resume=True"):
        trainer().fit((X, Y), epochs=5, out=out, progress=False)


def test_scripts_that_go_on_if_there_is_a_run_begin_without_a_folder() -> None:
    ours = plain()
    with pytest.raises(ArgumentError, match=r"resume must be True or False, not 'step_3\.safet"):
        ours.fit((X, Y), resume="step_3.safetensors", progress=False)  # type: ignore[arg-type]
    ours.fit((X, Y), resume=True, progress=False)
    assert ours.epoch == 1
    ours.fit((X, Y), epochs=3, resume=True, progress=False)
    assert ours.epoch == 3


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_predicted_of_nothing_has_its_shape(device: str) -> None:
    ours = trainer(device)
    found = ours.predict(X[:0])
    assert (found.shape, found.dtype) == ((0, CLASSES), np.dtype("float32"))
    for nothing in ([], {}):
        with pytest.raises(ArgumentError, match="there are no (examples|arrays)"):
            ours.predict(nothing)
    with pytest.raises(ArgumentError, match="there are no examples"):
        ours.evaluate((X[:0], Y[:0]))


@pytest.mark.slow
def test_it_trains_on_a_gpu_as_on_numpy(gpu: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(70, 3)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    made, seen = {}, {}
    for device in ("cuda", "numpy"):
        sn.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
        options = {"metrics": "accuracy", "device": device, "ema": 0.9, "clip_norm": 1.0}
        made[device] = Trainer(model, nn.cross_entropy, optim.Adam(1e-2), **options)
        how = {"epochs": 2, "batch_size": 16, "progress": False, "out": tmp_path / device}
        seen[device] = made[device].fit((x, y), validation=(x, y), **how)
    np.testing.assert_allclose(seen["cuda"].step_losses, seen["numpy"].step_losses, rtol=1e-5)
    for name in ("accuracy", "val_accuracy"):
        assert seen["cuda"][name] == seen["numpy"][name]
    predicted = made["cuda"].predict(x)
    assert isinstance(predicted, np.ndarray)
    np.testing.assert_allclose(predicted, made["numpy"].predict(x), rtol=1e-4, atol=1e-6)
    loaded = Trainer.load(tmp_path / "cuda" / "checkpoints" / "step_10.safetensors", device="cuda")
    np.testing.assert_array_equal(loaded.predict(x), predicted)
    more = [t.fit((x, y), batch_size=16, progress=False) for t in (loaded, made["cuda"])]
    np.testing.assert_array_equal(more[0].step_losses, more[1].step_losses)


def test_what_it_makes_has_the_line_that_asked_for_it() -> None:
    model = sn.nn.Sequential(sn.nn.Linear(3, 4), sn.nn.ReLU(), sn.nn.Linear(4, 2))
    trainer = sn.train.Trainer(model, sn.nn.cross_entropy, sn.optim.Adam(1e-3), device="numpy")
    trainer.fit((np.zeros((8, 3), "f4"), np.zeros(8, "i8")), progress=False)
    graph = trainer.training_step().function.graph
    files = [{line.file for line in node.provenance.lines} for node in graph.nodes]
    assert all(__file__ in found for found in files[-20:])  # a constant may be another test's, too
    assert not any(Path(sn.train.__file__).parent in Path(f).parents for f in set().union(*files))
