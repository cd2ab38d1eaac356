"""Runs that were ended in any way go on bit for bit, and what is damaged is told."""

from __future__ import annotations

import importlib.util
import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training import examples, network, trainer

import staticnet as sn
from staticnet import files, nn, optim
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.cli.run import write as write_results
from staticnet.errors import StateError
from staticnet.io import safetensors
from staticnet.train import Callback, Checkpoint, EarlyStopping, Trainer, checkpoint

COMPILES = True
X, Y = examples()
HELD = examples(20, 1)
STEPS = 4 * 5  # epochs of 70 in batches of 16
DEVICES = [
    "numpy",
    pytest.param("cpu", marks=pytest.mark.skipif(find_compiler() is None, reason="no C compiler")),
]
COMPILED = pytest.param(
    "cpu",
    "arrays",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(find_compiler() is None, reason="no C compiler"),
    ],
)


class End(Exception):
    """What ends a run."""


class After(Callback):
    """Ends a run after a step."""

    def __init__(self, step: int, act: Any = None) -> None:
        self.step, self.act = step, act

    def steps_until(self, trainer: Any) -> int:
        return max(self.step - trainer.step, 1)

    def on_steps(self, trainer: Any) -> None:
        if trainer.step == self.step:
            if self.act is None:
                raise End
            self.act()


def run(ours: Trainer, data: Any = (X, Y), **options: Any) -> Any:
    given = {"validation": HELD, "epochs": 4, "batch_size": 16, "seed": 2, "progress": False}
    return ours.fit(data, **(given | options))


def same(ours: Any, theirs: Any) -> None:
    """The same history and state, bit for bit."""
    np.testing.assert_array_equal(ours.history.step_losses, theirs.history.step_losses)
    assert list(ours.history) == list(theirs.history)
    for name in theirs.history:
        for a, b in zip(ours.history[name], theirs.history[name], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
    state = ours.training_step().function.state_dict()
    for name, value in theirs.training_step().function.state_dict().items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)


@pytest.mark.parametrize(
    ("device", "kind"),
    [("numpy", "arrays"), pytest.param("numpy", "batches", marks=pytest.mark.slow), COMPILED],
)
def test_a_run_goes_on_wherever_it_ended(device: str, kind: str, tmp_path: Path) -> None:
    batches = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, len(X), 16)]
    data = (X, Y) if kind == "arrays" else batches
    whole = trainer(device)
    run(whole, data)
    for step in (3, 10):
        out = tmp_path / str(step)
        ended = [After(step), Checkpoint(every=2, keep=2)]
        with pytest.raises(End):
            run(trainer(device), data, out=out, callbacks=ended)
        again = trainer(device)
        run(again, data, out=out, resume=True, callbacks=Checkpoint(every=7))
        same(again, whole)
        text = (out / "metrics.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in text] == ["epoch", "1", "2", "3", "4"]


@pytest.mark.slow
def test_schedules_and_stopping_go_on(tmp_path: Path) -> None:
    def made() -> Any:
        rate = optim.ReduceLROnPlateau(0.05, patience=0, threshold=0.5)
        stop = EarlyStopping(patience=2, min_delta=0.3, restore_best_weights=True)
        return trainer(optimizer=optim.SGD(rate, momentum=0.9)), stop

    whole, stop = made()
    run(whole, epochs=12, callbacks=stop)
    assert 2 < len(whole.history) < 12
    assert whole.history["lr"][-1] < 0.05
    for epoch in range(1, len(whole.history)):
        first, early = made()
        out = tmp_path / str(epoch)
        with pytest.raises(End):
            run(first, epochs=12, out=out, callbacks=[early, After(5 * epoch + 2)])
        again, late = made()
        run(again, epochs=12, out=out, resume=True, callbacks=late)
        same(again, whole)
        assert (late.best, late.stopped_epoch) == (stop.best, stop.stopped_epoch)
    finished, _ = made()
    run(finished, epochs=12, out=out, resume=True, callbacks=made()[1])
    assert len(finished.history) == len(whole.history)


def test_ctrl_c_leaves_a_checkpoint(tmp_path: Path) -> None:
    whole = trainer()
    run(whole)
    first = trainer()
    interrupt = After(8, lambda: os.kill(os.getpid(), signal.SIGINT))
    history = run(first, out=tmp_path, callbacks=interrupt)
    assert history.interrupted
    assert [step for step, _ in checkpoint.found(tmp_path)] == [5, 8]
    again = trainer()
    assert not run(again, out=tmp_path, resume=True).interrupted
    same(again, whole)


@pytest.mark.slow
def test_more_epochs_are_made_of_a_finished_run(tmp_path: Path) -> None:
    whole = trainer()
    run(whole, epochs=4)
    run(trainer(), epochs=2, out=tmp_path)
    again = trainer()
    run(again, epochs=4, out=tmp_path, resume=True)
    same(again, whole)
    new = trainer()
    run(new, epochs=4, out=tmp_path / "new", resume=True)  # there is nothing to go on from
    same(new, whole)


@pytest.mark.slow
def test_retention_and_the_best(tmp_path: Path) -> None:
    class Values(Callback):
        def on_epoch_end(self, trainer: Any) -> None:
            trainer.history.epochs[-1]["val_accuracy"] = [0.1, 0.9, 0.3, 0.2][trainer.epoch - 1]

    run(trainer(), out=tmp_path, callbacks=[Values(), Checkpoint(keep=1, best="val_accuracy")])
    assert [step for step, _ in checkpoint.found(tmp_path)] == [10, 20]
    assert (tmp_path / "best").read_text() == "checkpoints/step_10.safetensors\n"
    run(trainer(), out=tmp_path / "all", callbacks=Checkpoint(every=5, keep=None))
    assert len(checkpoint.found(tmp_path / "all")) == 4


def test_a_file_alone_is_a_trainer(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "progress": False}
    rate = optim.ReduceLROnPlateau(0.02, patience=0, threshold=0.9)
    whole = trainer(optimizer=optim.Adam(rate), precision="float16")
    whole.fit((X, Y), validation=HELD, **options)
    whole.save(tmp_path / "it.safetensors")
    other = Trainer.load(tmp_path / "it.safetensors", device="numpy")
    before = {name: value.copy() for name, value in whole.model.state_dict().items()}
    np.testing.assert_array_equal(other.predict(X), whole.predict(X))
    assert str(other.evaluate(HELD)) == str(whole.evaluate(HELD))
    other.fit((X, Y), validation=HELD, **options)
    for name, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])  # it shares nothing
    whole.fit((X, Y), validation=HELD, **options)
    np.testing.assert_array_equal(other.history.step_losses, whole.history.step_losses)
    assert other.history["lr"] == whole.history["lr"]
    assert other.history["lr"][-1] < 0.02
    assert other.model.state_dict().keys() == before.keys()
    trainable = [name for name, _ in other.model.named_parameters()]
    assert trainable == [name for name, _ in whole.model.named_parameters()]
    again = network()
    again.load_state_dict(other.model.state_dict())
    x = sn.placeholder(("n", 6), name="x")
    both = sn.function(x, [other.model(x), again.eval()(x)], device="numpy")(X)
    np.testing.assert_array_equal(*both)


def test_several_inputs_and_outputs_are_loaded(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            self.parts = {"a": nn.Linear(6, 3), "b": [nn.Linear(6, 3)]}

        def forward(self, a: Any, b: Any) -> Any:
            return {"y": self.parts["a"](a) + self.parts["b"][0](b), "z": (a, [b])}  # type: ignore[index,operator]

    def loss(outputs: Any, targets: Any) -> Any:
        return nn.cross_entropy(outputs["y"], targets)

    def measure(outputs: Any, targets: Any) -> Any:
        return loss(outputs, targets)

    ours = Trainer(Two(), loss, optim.SGD(0.1), device="numpy", metrics=[measure])
    ours.fit(({"a": X, "b": X}, Y), progress=False)
    ours.save(tmp_path / "it.safetensors")
    other = Trainer.load(tmp_path / "it.safetensors", device="numpy")
    made, expected = other.predict({"a": X, "b": X}), ours.predict({"a": X, "b": X})
    np.testing.assert_array_equal(made["y"], expected["y"])
    np.testing.assert_array_equal(made["z"][1][0], X)
    assert other.model.state_dict().keys() == ours.model.state_dict().keys()
    assert list(other.evaluate(({"a": X, "b": X}, Y))) == ["loss"]


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run(trainer(), epochs=1, out=tmp_path)
    wider = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 3))
    other = Trainer(wider, nn.cross_entropy, optim.SGD(0.1), device="numpy")
    with pytest.raises(StateError) as told:
        run(other, out=tmp_path, resume=True)
    message = str(told.value)
    assert "step_5.safetensors is of another model or optimizer" in message
    assert "missing: model.0.weight" in message
    assert "model.2.running_mean, " in message.partition("unexpected: ")[2]
    assert "mismatched: model.1.weight" in message
    with pytest.raises(StateError, match=r"missing: .*momentum_buffer.*; unexpected: .*exp_avg"):
        run(trainer(optimizer=optim.SGD(0.1, momentum=0.9)), out=tmp_path, resume=True)


@pytest.mark.slow
def test_what_would_change_the_order_is_refused(tmp_path: Path, caplog: Any) -> None:
    with pytest.raises(End):
        run(trainer(), out=tmp_path, callbacks=[After(4), Checkpoint(every=2)])
    with pytest.raises(StateError, match="was made with seed=2, not 3; give the same"):
        run(trainer(), out=tmp_path, resume=True, seed=3)
    with pytest.raises(StateError, match="was made with batch_size=16, not 8"):
        run(trainer(), out=tmp_path, resume=True, batch_size=8)
    with pytest.raises(StateError, match="was made with examples=70, not 60"):
        run(trainer(), (X[:60], Y[:60]), out=tmp_path, resume=True)
    other = trainer(optimizer=optim.Adam(optim.CosineAnnealingLR(0.03, 40)))
    with caplog.at_level(logging.WARNING):
        run(other, out=tmp_path, resume=True)
    assert "was made by another step than this one" in caplog.text


def small(out: Path) -> None:
    """Two checkpoints of a very small model."""
    nn.manual_seed(0)
    ours = Trainer(nn.Linear(6, 3), nn.cross_entropy, optim.SGD(0.1), device="numpy")
    ours.fit((X, Y), epochs=2, batch_size=64, out=out, progress=False)


def cut_everywhere(out: Path, every: int) -> None:
    """Cut the newest checkpoint at each byte: the error names it and the one before."""
    small(out)
    (_, older), (_, newest) = checkpoint.found(out)
    data, before = newest.read_bytes(), older.read_bytes()
    for end in range(0, len(data), every):
        newest.write_bytes(data[:end])
        with pytest.raises(StateError) as told:
            checkpoint.read_last(out)
        assert newest.name in str(told.value)
        assert f"remove it to go on from {older.name}" in str(told.value)
    assert older.read_bytes() == before
    newest.unlink()
    ours = Trainer(nn.Linear(6, 3), nn.cross_entropy, optim.SGD(0.1), device="numpy")
    assert len(ours.fit((X, Y), epochs=2, batch_size=64, out=out, resume=True, progress=False)) == 2


def test_a_checkpoint_that_was_cut(tmp_path: Path) -> None:
    cut_everywhere(tmp_path, 131)


@pytest.mark.slow
def test_a_checkpoint_that_was_cut_at_every_byte(tmp_path: Path) -> None:
    cut_everywhere(tmp_path, 1)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    safetensors.save(file, network().state_dict())
    with pytest.raises(StateError, match="has weights but no record of a training run"):
        Trainer.load(file)
    safetensors.save(file, {}, {"staticnet": json.dumps({"format": 99})})
    with pytest.raises(StateError, match="a checkpoint of format 99"):
        Trainer.load(file)
    with pytest.raises(OSError, match="nothing"):
        Trainer.load(tmp_path / "nothing")


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Full(Callback):
        """No file may grow beyond 4 KiB from the third epoch on."""

        def on_epoch_start(self, trainer: Any) -> None:
            if trainer.epoch == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))

    try:
        with pytest.raises(StateError, match=r"step_15.safetensors was not written: File too l.*"):
            run(trainer(), out=tmp_path, callbacks=Full())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for _, file in checkpoint.found(tmp_path)] == [
        "step_5.safetensors",
        "step_10.safetensors",
    ]
    assert sorted(os.listdir(tmp_path / "checkpoints")) == [
        "step_10.safetensors",
        "step_5.safetensors",
    ]
    whole, again = trainer(), trainer()
    run(whole)
    run(again, out=tmp_path, resume=True)
    same(again, whole)


def test_a_name_may_be_as_long_as_the_system_has_them(tmp_path: Path) -> None:
    """And what a writer that was killed left beside it is removed."""
    for length in (255, 214, 1):
        files.write(tmp_path / ("n" * length), b"all")
        assert (tmp_path / ("n" * length)).read_bytes() == b"all"
    assert len(list(tmp_path.iterdir())) == 3
    with files.written(tmp_path / "n") as stream:
        (left,) = {file for file in tmp_path.iterdir() if file.name.strip("n")}
        stream.write(b"half")
        assert (tmp_path / "n").read_bytes() == b"all"
    assert (tmp_path / "n").read_bytes() == b"half"
    left.touch()
    files.remove_partial(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_every_writer_follows_a_link(tmp_path: Path) -> None:
    x = sn.placeholder((2,), name="x")
    graph, there = sn.Graph("g", [x], [x * 2]), tmp_path / "there"
    there.mkdir()

    def linked(name: str) -> Path:
        (there / name).write_bytes(b"old")
        (there / name).chmod(0o604)
        (tmp_path / name).symlink_to(there / name)
        return tmp_path / name

    sn.io.model_explorer.save(linked("g.json"), graph)
    assert json.loads((there / "g.json").read_text())["graphs"]
    write_results(linked("y.npy"), {"y": np.arange(3)})
    assert list(np.load(there / "y.npy")) == [0, 1, 2]
    write_results(linked("y.npz"), {"y": np.arange(3)})
    assert list(np.load(there / "y.npz")["y"]) == [0, 1, 2]
    written = ["g.json", "y.npy", "y.npz"]
    if importlib.util.find_spec("onnx"):
        big = sn.Graph("g", [x], [x + sn.constant(np.ones((2048, 2), np.float32))])
        linked("g.onnx.data")
        sn.io.onnx.save(linked("g.onnx"), big, external=True)
        assert (there / "g.onnx.data").stat().st_size == 2048 * 2 * 4
        written += ["g.onnx", "g.onnx.data"]
    assert sorted(file.name for file in there.iterdir()) == sorted(written)
    for name in written:
        assert (tmp_path / name).is_symlink()
        assert (there / name).stat().st_mode & 0o777 == 0o604


def test_what_is_not_written_is_named(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "old").write_text("old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        for act, name in ((files.write, "old"), (files.append, "new")):
            with pytest.raises(OSError, match=name) as caught:
                act(tmp_path / name, bytes(9000))
            assert caught.value.filename == str(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "old").read_text() == "old"
    (tmp_path / "link").symlink_to("old")
    files.write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "old").read_text() == "new"
    files.write(os.devnull, "nothing")
    assert not Path(os.devnull).is_file()
    (tmp_path / "old").chmod(0o600)
    files.write(tmp_path / "old", "newest")
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o600
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="/dev/full"):
            files.write("/dev/full", "much")


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no /dev/stdout")
def test_the_standard_output_is_written_to_where_it_is(tmp_path: Path) -> None:
    """By a pipe, a new file and one that is appended to; between what else is printed."""
    code = "from staticnet import files; print(1); files.write('{}', '2\\n'); print(3)"
    log = tmp_path / "log"
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        command = [sys.executable, "-c", code.format(name)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told == "1\n2\n3\n"
        for mode, before in (("w", ""), ("a", "1\n2\n3\n")):
            with log.open(mode) as stream:
                subprocess.run(command, stdout=stream, check=True)
            assert log.read_text() == before + "1\n2\n3\n"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "run", Path("/proc/run")):
        with pytest.raises(StateError, match=r"cannot be written: .*; choose another out"):
            run(trainer(), out=out)
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o555)
        with pytest.raises(StateError, match="cannot be written: Permission denied"):
            run(trainer(), out=tmp_path / "locked" / "run")

    class Gone(Callback):
        """Another file takes the place of the folder of checkpoints."""

        def on_fit_start(self, trainer: Any) -> None:
            (trainer.out / "checkpoints").write_text("")

    with pytest.raises(StateError, match=r"step_5.safetensors was not written: .*choose another"):
        run(trainer(), out=tmp_path / "run", callbacks=Gone())


@pytest.mark.slow
def test_a_picture_of_the_run_for_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with pytest.raises(End):
        run(trainer(), out=tmp_path, callbacks=[After(13), sn.train.TensorBoard(every=3)])
    ours = trainer()
    history = run(ours, out=tmp_path, resume=True, callbacks=sn.train.TensorBoard(every=3))
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    tags = {"step/loss", "epoch/loss", "epoch/accuracy", "epoch/lr"}
    tags |= {"validation/loss", "validation/accuracy"}
    assert set(events.Tags()["scalars"]) == tags
    found = events.Scalars("epoch/loss")
    assert [event.step for event in found] == [5, 10, 15, 20]
    np.testing.assert_allclose([event.value for event in found], history["loss"], rtol=1e-6)
    steps = events.Scalars("step/loss")
    assert [event.step for event in steps] == [3, 6, 9, 12, 15, 18]
    np.testing.assert_array_equal(
        np.float32([event.value for event in steps]), history.step_losses[2::3]
    )


def train_in_a_process(out: str, device: str) -> None:
    """What is killed: checkpoints all the time, images that are turned, all kinds of state."""
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 1, 6, 6), "float32"), rng.integers(0, 3, 60)
    nn.manual_seed(1)
    augment = nn.Sequential(nn.RandomCrop(6, padding=1), nn.RandomHorizontalFlip())
    layers = (nn.Flatten(), nn.Dropout(0.2), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU())
    model = nn.Sequential(augment, *layers, nn.Linear(8, 3))
    rule = optim.Adam(optim.CosineAnnealingLR(0.01, 60))
    ours = Trainer(model, nn.cross_entropy, rule, metrics="accuracy", ema=0.9, device=device)
    ours.fit(
        (x, y), validation=(x, y), epochs=10, batch_size=8, out=out, resume=True, progress=False,
        callbacks=Checkpoint(every=1, keep=2),
    )  # fmt: skip


def killed_at_random(device: str, tmp_path: Path, times: int) -> None:
    """Kill a run so often, resume it each time: its losses are those of one that was not killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["staticnet"])

    def started(out: Path) -> Any:
        process = context.Process(target=train_in_a_process, args=(str(out), device))
        process.start()
        return process

    whole, out = tmp_path / "whole", tmp_path / "killed"
    process = started(whole)
    process.join()
    assert process.exitcode == 0
    draw, kills, last = random.Random(0), 0, 0
    while kills < times:
        process, before = started(out), last
        while process.is_alive() and last == before:  # it has begun to write
            time.sleep(0.005)
            last = max([step for step, _ in checkpoint.found(out)], default=0)
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        process.join()
        known = checkpoint.found(out)
        for _, file in known:
            checkpoint.read(file)
        assert known[-1][0] >= last
        last = known[-1][0]
        kills += 1
        if process.exitcode == 0:
            out = tmp_path / f"killed {kills}"
            last = 0
    process = started(out)
    process.join()
    assert process.exitcode == 0
    expected, found = (checkpoint.read_last(folder) for folder in (whole, out))
    assert expected is not None
    assert found is not None
    assert expected[2]["history"] == found[2]["history"]
    assert expected[1].keys() == found[1].keys()
    for name, value in expected[1].items():
        np.testing.assert_array_equal(found[1][name], value, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_a_run_that_is_killed_fifty_times(device: str, tmp_path: Path) -> None:
    killed_at_random(device, tmp_path, 50)
