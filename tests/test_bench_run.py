"""The benchmark's processes: a quick run, and contenders that are wrong, absent or broken."""

import argparse
import functools
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from bench import copies, driver, environment, kernels, report, rounds
from bench.client import Client, WorkerError
from bench.program import COPIES, COPY_MEMORY, OURS
from bench.workloads import WORKLOADS
from staticnet.cli import bench
from staticnet.cli.main import main
from staticnet.compare.timing import settled
from staticnet.errors import ArgumentError, DependencyError

IMAGES = ("cifar_lenet", "cifar_bn", "resnet18")  # whose reference is PyTorch
LONG = ("mlp", "char_lstm", "char_gpt", *IMAGES)  # whose reference takes seconds


def options(*arguments):
    parser = argparse.ArgumentParser()
    bench.add_to(parser.add_subparsers())
    return parser.parse_args(["bench", *arguments])


@pytest.mark.parametrize(
    "workloads",
    [
        pytest.param(("playground",), id="one"),
        pytest.param(
            tuple(n for n in WORKLOADS if n not in LONG), id="all", marks=pytest.mark.slow
        ),
    ],
)
def test_a_quick_run_of_staticnet_alone(workloads, tmp_path, capsys):
    out = tmp_path / "results" / "quick.jsonl"
    chosen = options(
        *("--quick", "--contender", "staticnet", "copy.numpy", "--device", "numpy"),
        *("--threads", "1", "--out", str(out), "--workload", *workloads),
    )
    chosen.run(chosen)
    about, *records = [json.loads(line) for line in out.read_text().splitlines()]
    assert about["kind"] == "environment"
    assert about["versions"]["numpy"] == np.__version__
    ours = [r for r in records if r["contender"] == "staticnet"]
    assert {r["workload"] for r in ours} == set(workloads)
    assert [r["status"] for r in records] == ["ok"] * len(records)
    assert all(r["check"]["right"] and len(r["samples"]) == 3 for r in ours)
    for name in workloads:
        told = {r["mode"] for r in ours if r["workload"] == name}
        of_kernels = {"into"} if name == "adam" else {"into", "fresh"}
        assert told == ({"call", "run"} if WORKLOADS[name].sizes == (0,) else of_kernels)
    printed = capsys.readouterr().out
    assert printed.count("  staticnet  ") == len(ours)
    assert len(report.rows([about, *records])) == len(records)


def quick(name, *contenders, **options):
    """The records of a quick run on the NumPy backend, without the environment's."""
    chosen = {"device": "numpy", "quick": True, "rounds": 2, "seconds": 0.01} | options
    settings = driver.Settings(workloads=[name], contenders=contenders, **chosen)
    return driver.run(settings, lambda text: None)[1:]


def doubled(workload, size):
    given = workload.reference(workload.make_data(size))
    return {name: 2 * np.ravel(x) for name, x in given.items()}


@pytest.mark.parametrize("share", [driver.TOGETHER, 0.0])
def test_a_wrong_contender_is_reported_and_not_timed(monkeypatch, share):
    monkeypatch.setattr(driver, "TOGETHER", share)
    monkeypatch.setattr(driver, "expected", doubled)
    lines = quick("pointwise", "staticnet")
    assert [(r["mode"], r["status"]) for r in lines] == [("into", "wrong"), ("fresh", "wrong")]
    assert all("samples" not in r and "the reference says" in r["reason"] for r in lines)


def test_an_absent_library_is_missing_with_its_remedy(monkeypatch):
    monkeypatch.setattr(environment, "REQUIRES", {"jax": ("no_such_module", "pip install it")})
    settings = driver.Settings(workloads=["playground"], contenders=["jax"], quick=True)
    _, line = driver.run(settings, lambda text: None)
    assert line["status"] == "missing"
    assert "pip install it" in line["reason"]


def test_what_does_not_fit_together_goes_in_turn(monkeypatch):
    monkeypatch.setattr(driver, "TOGETHER", 0.0)
    monkeypatch.setattr(rounds, "FEW_ROUNDS", 3)
    asked = []
    original = Client.ask
    monkeypatch.setattr(
        Client,
        "ask",
        lambda self, do, **more: asked.append((self.contender, do)) or original(self, do, **more),
    )
    lines = quick("adam", "staticnet", "copy.numpy", rounds=9)
    assert [(r["contender"], r["status"]) for r in lines] == [
        ("staticnet", "ok"),
        ("copy.numpy", "ok"),
    ]
    assert all(r["turns"] == "in turn" and len(r["samples"]) == 3 for r in lines)
    assert all(1 <= len(each) <= rounds.FEW_CALLS for r in lines for each in r["samples"])
    ours = [("staticnet", do) for do in ("release", "prepare", "few")]
    copied = ("copy.numpy", "few")
    first = [*ours[1:], ("copy.numpy", "prepare"), copied]
    assert asked[:12] == [*first, copied, *ours, *ours, copied]


def test_large_arrays_are_timed_by_few_calls(monkeypatch):
    monkeypatch.setattr(driver, "LARGE", 1)
    lines = quick("softmax", "staticnet", "copy.numpy", rounds=9)
    assert [(r["mode"], r["status"], r["turns"]) for r in lines] == [
        ("into", "ok", "together"),
        ("into", "ok", "together"),
        ("fresh", "ok", "together"),
    ]
    assert all(len(r["samples"]) == rounds.FEW_ROUNDS for r in lines)
    assert all(1 <= len(each) <= rounds.FEW_CALLS for r in lines for each in r["samples"])


class Scripted:
    """A client whose program gives the next of these values each time that it is built."""

    def __init__(self, *values):
        self.values, self.asked = iter(values), []

    def ask(self, do, mode="into", **_):
        self.asked.append(do)
        if do == "prepare":
            self.value = next(self.values)
        checks = {"checks": {mode: [self.value] * 2}, "first_call_s": {mode: 1}, "steps": {mode: 1}}
        return checks | {"check": [self.value], "samples": [1.0]}


def raced_in_turn(*values):
    lines, client = [], Scripted(*values)
    race = rounds.Race(
        WORKLOADS["adam"], 65536, {"staticnet": client}, {"into": np.ones(2)}, lines.append
    )
    race.in_turn(3)
    (line,) = lines
    return line, client.asked


def test_a_contender_that_becomes_wrong_has_failed():
    line, asked = raced_in_turn(1.0, 2.0)
    assert line["status"] == "failed"
    assert line["reason"].startswith("into, built again: value 0 is 2; the reference says 1")
    assert asked == ["prepare", "few", "release", "prepare", "few"]


def test_what_is_wrong_is_released_before_the_next_one():
    lines, wrong, right = [], Scripted(2.0), Scripted(1.0, 1.0)
    clients = {"torch": wrong, "jax": right}
    race = rounds.Race(WORKLOADS["adam"], 65536, clients, {"into": np.ones(2)}, lines.append)
    race.in_turn(2)
    assert wrong.asked == ["prepare", "release"]
    assert [r["status"] for r in lines] == ["wrong", "ok"]
    assert lines[1]["samples"] == [[1.0], [1.0]]


def test_the_order_rotates():
    orders = [rounds.rotated("abc", i) for i in range(4)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]
    assert rounds.rotated([], 1) == []


def test_what_does_not_fit_alone_is_skipped(monkeypatch):
    size = WORKLOADS["adam"].quick_sizes[0]
    monkeypatch.setattr(environment, "memory", lambda field: 5 * size)
    ours, copy = quick("adam", "staticnet", "copy.numpy")
    assert (ours["contender"], ours["status"]) == ("staticnet", "skipped")
    assert "GiB of memory" in ours["reason"]
    assert (copy["contender"], copy["status"], copy["turns"]) == ("copy.numpy", "ok", "in turn")


@pytest.mark.parametrize("name", ["pointwise", "softmax", "layer_norm", "adam"])
def test_inputs_are_drawn_alike_and_held_once(name):
    workload = WORKLOADS[name]
    size = 8 * kernels.MIB
    tracemalloc.start()
    data = workload.make_data(size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    held = sum(x.nbytes for x in data.values())
    assert peak < 1.1 * held + kernels.BLOCK * kernels.ITEM
    again = workload.make_data(size)
    assert all(np.array_equal(data[key], again[key]) for key in data)
    assert held <= workload.needs(size)


def test_numbers_begin_again_after_a_block(monkeypatch):
    few = kernels.uniform(1, 3, 5, scale=4)
    assert few.dtype == np.float32
    assert few.shape == (3, 5)
    assert 1 < np.abs(few).max() < 4
    monkeypatch.setattr(kernels, "BLOCK", 7)
    short = kernels.uniform(1, 3, 5, scale=4).ravel()
    assert np.array_equal(short[:7], few.ravel()[:7])
    assert np.array_equal(short, np.resize(short[:7], 15))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the size is read from /proc")
@pytest.mark.parametrize("contender", ["staticnet", "copy.numpy"])
def test_release_gives_memory_back(contender):
    size = 32 * kernels.MIB
    holds = WORKLOADS["pointwise"].holds(contender, size)
    with Client("pointwise", contender, "numpy", 1) as client:
        client.ready()
        client.ask("prepare", size=kernels.MIB, steps=1)
        client.ask("release")
        before = resident(client)
        client.ask("prepare", size=size, steps=1)
        assert resident(client) - before == pytest.approx(holds, rel=0.25)
        client.ask("release")
        assert resident(client) - before < size / 2
        with pytest.raises(WorkerError, match="prepare comes first"):
            client.ask("few", mode="into", seconds=1, calls=1, check=False)


def resident(client):
    status = Path(f"/proc/{client._process.pid}/status").read_text()
    return 1024 * next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmRSS:"))


def test_a_worker_answers_errors_and_goes_on():
    with Client("playground", "staticnet", "numpy", 1) as client:
        assert client.ready()["ready"]
        with pytest.raises(WorkerError, match="unexpected keyword"):
            client.ask("prepare", data="a file")
        steps = WORKLOADS["playground"].check_steps
        answer = client.ask("prepare", size=0, steps=steps)
        assert len(answer["checks"]["call"]) == len(answer["checks"]["run"]) == steps
        assert client.ask("memory")["rss_growth"] >= 0
        alone = client.ask("prepare", size=0, steps=2, modes=["call"])
        assert list(alone["checks"]) == ["call"]


def test_a_worker_that_dies_says_its_last_words():
    with Client("no_such_workload", "staticnet", "numpy", 1) as client:
        with pytest.raises(WorkerError, match="no_such_workload"):
            client.ready()
        with pytest.raises(WorkerError, match="ended"):
            client.ask("memory", timeout=600)


@functools.cache
def data_and_reference(name):
    data = WORKLOADS[name].make_data(WORKLOADS[name].quick_sizes[0])
    return data, WORKLOADS[name].reference(data)


@pytest.mark.parametrize(
    "contender", ["torch", "jax", pytest.param("staticnet", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in WORKLOADS],
)
def test_contenders_agree_with_the_reference(name, contender):
    module = pytest.importorskip(contender, reason="the peer is not installed")
    assert module is not None
    if name in IMAGES:
        pytest.importorskip("torch", reason="the reference is PyTorch in float64")
    workload = WORKLOADS[name]
    data, expected = data_and_reference(name)
    data = {
        name: array.copy() for name, array in data.items()
    }  # a program may keep or give it away
    program = workload.contenders[contender](data, "cpu")
    for mode, each in program.modes.items():
        values = each.check(workload.check_steps)
        if mode != "run":
            wanted = np.ravel(expected[mode])
            wanted = wanted if workload.sizes == (0,) else wanted[len(wanted) // 2 :]
        else:
            wanted = expected[mode]
        assert rounds.compare(values, wanted, workload)["right"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.1])
def test_compare_finds_any_wrong_value(bad):
    workload = WORKLOADS["mlp"]
    found = rounds.compare(np.array([1, bad]), np.ones(2), workload)
    assert not found["right"]
    assert found["text"].startswith("value 1 is")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert rounds.compare(np.ones(2), np.ones(2), workload)["right"]
    assert not rounds.compare(np.ones(3), np.ones(2), workload)["right"]


@pytest.fixture(params=COPIES)
def copy(request):
    reason = environment.missing(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize("items", [1, 3, 17, 1000, 300_001])
def test_a_copy_copies_all_and_no_more(copy, items, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    source = np.random.default_rng(0).random(items + 4).astype(np.float32)
    made = copies._foreign(copies.FUNCTIONS[copy]) if copy in copies.FUNCTIONS else copies._numpy()
    for passes, rest, copied in ((1, 0, items), (0, items // 2, items // 2), (2, 1, items)):
        target = np.zeros_like(source)
        made(target[:items], source[:items], passes, rest)()
        assert np.array_equal(target[:copied], source[:copied])
        assert not target[copied:].any()


def test_a_copy_moves_what_it_says_in_the_memory_it_says(monkeypatch):
    asked = []

    def made():
        return lambda target, source, passes, rest: (
            asked.append((source.nbytes, passes, rest)) or (lambda: None)
        )

    monkeypatch.setattr(copies, "_numpy", made)
    with pytest.raises(RuntimeError, match="something else"):
        copies.copy_program("copy.numpy", 7 * 4096, 4 * 4096)
    half = 2 * 4096
    assert asked == [(half, 1, (7 * 4096 // 2 - half) // 4)]
    adam = WORKLOADS["adam"]
    assert [adam.holds("copy.c", size) for size in (4096, 1 << 30)] == [4 * 4096, COPY_MEMORY]


@pytest.mark.parametrize("moved", [4096, 8 * 4096, 28 * 4096])
def test_copies_of_any_length_are_right(copy, moved):
    program = copies.copy_program(copy, moved, 8 * 4096)
    assert np.isfinite(program.modes["into"].check(2)).all()


def test_every_kernel_but_a_product_has_copies():
    with_copies = {name for name, w in WORKLOADS.items() if w.runs("copy.numpy")}
    assert with_copies == {"pointwise", "softmax", "layer_norm", "adam"}
    assert all(w.runs(OURS) and not w.runs("mxnet") for w in WORKLOADS.values())


def test_copies_without_a_compiler_are_missing(monkeypatch):
    from staticnet.backends.cpu import compiler

    monkeypatch.setattr(compiler, "find_compiler", lambda: None)
    assert environment.missing("copy.numpy") is None
    assert "apt install gcc" in environment.missing("copy.c")
    assert "apt install gcc" in environment.missing("copy.stream")


def test_warm_up_ends_when_three_blocks_agree():
    assert not settled([1.0, 1.0])
    assert not settled([1.0, 1.0, 1.2])
    assert settled([9.0, 1.0, 1.02, 1.04])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--suite", "moon"),
        ("--workload", "nothing"),
        ("--contender", "mxnet"),
        ("--rounds", "-1"),
        ("--seconds", "0"),
        ("--device", "tpu"),
        ("--tolerance", "1"),
        ("--against", "no_such_file"),
        ("--against", __file__),
    ],
)
def test_bad_options(arguments):
    chosen = options(*arguments)
    with pytest.raises(ArgumentError, match=arguments[0]):
        chosen.run(chosen)


def test_an_empty_file_holds_no_results(tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    chosen = options("--against", str(empty))
    with pytest.raises(ArgumentError, match="holds no results"):
        chosen.run(chosen)


def test_worse_than_before_is_status_1(tmp_path, capsys):
    recorded = tmp_path / "results.jsonl"
    arguments = ("--quick", "--contender", "staticnet", "--device", "numpy", "--workload", "adam")
    assert main(["bench", *arguments, "--out", str(recorded)]) == 0
    against = ("--against", str(recorded), "--tolerance", "50")
    assert main(["bench", *arguments, *against]) == 0
    lines = [json.loads(line) for line in recorded.read_text().splitlines()]
    lines[1]["samples"] = [[s / 1000 for s in each] for each in lines[1]["samples"]]
    recorded.write_text("".join(json.dumps(line) + "\n" for line in lines))
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments, *against, "--out", str(recorded)])
    assert ended.value.code == 1
    assert "slower: 1\n  adam 64 KiB into: " in capsys.readouterr().out


def test_without_a_checkout_it_says_so(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.staticnet, "__file__", str(tmp_path / "staticnet" / "__init__.py"))
    chosen = options()
    with pytest.raises(DependencyError, match="clone the repository"):
        chosen.run(chosen)
