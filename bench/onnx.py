"""Inference of imported networks on the CPU beside onnxruntime and PyTorch, in turns.

    python -m bench.onnx [--only resnet18 bert] [--batches 1 8] [--rounds 7] [--limit 60]
                         [--peers onnxruntime torch torch.compile] [--folder DIR] [--out FILE.json]
    python -m bench.onnx --table FILE.json...

PyTorch exports each network of `bench.architectures` as ONNX, once: `--folder` keeps the files.
Each contender has a process of its own, in which it first gives the outputs that PyTorch gives, and
then takes its turn in each round; after `limit` seconds no round begins. Times are CPU seconds of
one thread: on a machine with other work they are the fairer ones. Beside them stand the CPU seconds
from the file, or for PyTorch the network, to the first outputs, with an empty cache and those of
compilers included, and the most memory beyond what the process had after its imports.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import environment
from bench.report import duration
from bench.resident import max_rss
from staticnet.compare import stats

PEERS = ("onnxruntime", "torch", "torch.compile")
ROUND = 0.2  # seconds of a turn, or one call
SAMPLE = 0.002  # seconds of a sample, or one call
TOLERANCE = 1e-3
Record = dict[str, Any]
Run = Callable[[Any], Any]


def export(name: str, batch: int, folder: Path) -> Path:
    """The file of a network and an input; made if it is not there."""
    import torch

    from bench.architectures import made

    file = folder / f"{name}_{batch}.onnx"
    if not file.exists() or not file.with_suffix(".npz").exists():
        network, x = made(name, batch)
        with torch.inference_mode():
            y = network(x)
        if not file.exists():
            torch.onnx.export(network, (x,), str(file), input_names=["x"], verbose=False)
        np.savez(file.with_suffix(".npz"), x=x.numpy(), y=y.numpy())
    return file


def staticnet_run(file: Path, x: Any) -> Run:
    """Our run of a file."""
    import staticnet as sn

    node = sn.placeholder(x.shape, str(x.dtype), "x")
    f: Run = sn.function(node, sn.io.onnx.load(file)(node), device="cpu")
    return f


def onnxruntime_run(file: Path, x: Any) -> Run:
    """onnxruntime's run of a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def torch_run(file: Path, x: Any, compiles: bool = False) -> Run:
    """PyTorch's run of the network that a file was made of."""
    import torch

    from bench.architectures import made

    name, _, batch = file.stem.rpartition("_")
    network = made(name, int(batch))[0]
    network = torch.compile(network) if compiles else network

    def run(x: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(x)).numpy()

    return run


def torch_compile_run(file: Path, x: Any) -> Run:
    """The same, compiled."""
    return torch_run(file, x, compiles=True)


RUNS = dict(zip(PEERS, (onnxruntime_run, torch_run, torch_compile_run), strict=True))


def worker(pipe: Any, contender: str, file: Path) -> None:
    """Prepares a contender, says what that took, and then runs a turn for each message."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["STATICNET_CACHE"] = os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # more would be in a process apart
        try:
            run, x, about = _prepare(contender, file)
        except Exception as error:  # whatever another library raises is its result
            pipe.send({"failed": f"{type(error).__name__}: {error}"[:300]})
            return
    pipe.send(about)
    while calls := pipe.recv():
        pipe.send(_turn(run, x, calls))


def _turn(run: Run, x: Any, calls: int) -> list[float]:
    """Seconds of a call, each sample the mean of so many."""
    samples = list[float]()
    while sum(samples) * calls < ROUND:
        start = time.process_time()
        for _ in range(calls):
            run(x)
        samples.append(float(f"{(time.process_time() - start) / calls:.4g}"))
    return samples


def _cpu() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _prepare(contender: str, file: Path) -> tuple[Run, Any, Record]:
    with np.load(file.with_suffix(".npz")) as kept:
        x, wanted = kept["x"], kept["y"]
    importlib.import_module(contender.partition(".")[0])
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what it has now
    before = max_rss()
    start, cpu = time.perf_counter(), _cpu()
    run = RUNS.get(contender, staticnet_run)(file, x)
    y = np.asarray(run(x))
    about = {"first_s": time.perf_counter() - start, "first_cpu_s": _cpu() - cpu}
    error = float(np.abs(y - wanted).max() / np.abs(wanted).max())
    if not error <= TOLERANCE:
        raise ValueError(f"its outputs differ from PyTorch's by {error:.1e} of the greatest")
    run(x)
    start = time.process_time()
    run(x)
    calls = max(1, round(SAMPLE / max(time.process_time() - start, 1e-6)))
    about |= {"error": error, "peak_bytes": max_rss() - before, "calls": calls}
    return run, x, about


def compare(name: str, batch: int, folder: Path, options: argparse.Namespace) -> Record:
    """One network's contenders and their samples of each round."""
    record, pipes = prepared(name, batch, folder, options.peers)
    measure(record, pipes, options.rounds, options.limit)
    return record


def prepared(
    name: str, batch: int, folder: Path, peers: Sequence[str]
) -> tuple[Record, dict[str, Any]]:
    """A record without times, and each contender's pipe; the contender waits for its turn."""
    file = export(name, batch, folder)
    found: dict[str, Record] = {}
    pipes = {}
    for contender in ("staticnet", *peers):
        pipe, far = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=worker, args=(far, contender, file), daemon=True
        )
        process.start()
        far.close()
        found[contender] = _answer(pipe)
        if "failed" not in found[contender]:
            pipes[contender] = pipe
            found[contender]["seconds"] = []
    return {"network": name, "batch": batch, "contenders": found}, pipes


def measure(record: Record, pipes: dict[str, Any], rounds: int, limit: float) -> None:
    """Add the samples of each round to a record; the contenders' processes end."""
    found = record["contenders"]
    end = time.perf_counter() + limit
    rng = np.random.default_rng(0)
    for i in range(rounds):
        if i >= 3 and time.perf_counter() > end:
            break
        for contender in rng.permutation(list(pipes)):
            try:
                pipes[contender].send(found[contender]["calls"])
                found[contender]["seconds"].append(pipes[contender].recv())
            except (EOFError, BrokenPipeError):
                found[contender]["failed"] = "its process ended"
                del pipes[contender]
    record["load"] = os.getloadavg()[0]
    for pipe in pipes.values():
        pipe.send(0)


def _answer(pipe: Any) -> Record:
    try:
        answer: Record = pipe.recv()
    except EOFError:
        return {"failed": "its process ended"}
    return answer


def line(record: Record) -> tuple[str, float]:
    """A record as text, and our time over that of the fastest other."""
    found = {c: each for c, each in record["contenders"].items() if "failed" not in each}
    told = []
    for contender, each in found.items():
        middle = duration(stats.median(each["seconds"]))
        memory = each["peak_bytes"] / 2**20
        told.append(f"{contender} {middle} (first {each['first_cpu_s']:.1f} s, {memory:.0f} MiB)")
    others = [each["seconds"] for c, each in found.items() if c != "staticnet"]
    if "staticnet" not in found or not others:
        return f"{record['network']} {record['batch']}: {'; '.join(told)}", float("nan")
    ratio = _ratio(record)
    head = f"{record['network']:18} {record['batch']:2}"
    bounds = f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
    return f"{head} {bounds}  {'; '.join(told)}", ratio.value


NAMES = {
    "unet": "U-Net", "tagger": "LSTM tagger", "detector": "detector's head",
    "resnet18": "ResNet-18", "resnet50": "ResNet-50", "bert": "BERT-base", "gpt2": "GPT-2",
    "vit_b_16": "ViT-B/16", "convnext_tiny": "ConvNeXt-T", "mobilenet_v3_large": "MobileNetV3",
    "efficientnet_b0": "EfficientNet-B0",
}  # fmt: skip


def table(found: Sequence[Record]) -> list[str]:
    """Records as lines of Markdown: the time of a call, CPU seconds to the first, and memory."""
    contenders = ("staticnet", *PEERS)
    lines = [
        f"| network | examples | {' | '.join(contenders)} | ratio, 95 % interval |",
        f"|{'---|' * (len(contenders) + 3)}",
    ]
    order = {name: i for i, name in enumerate(NAMES)}
    for record in sorted(found, key=lambda r: (order[r["network"]], r["batch"])):
        cells = []
        for each in map(record["contenders"].get, contenders):
            if each is None or "failed" in each:
                cells.append("")
                continue
            middle, memory = duration(stats.median(each["seconds"])), each["peak_bytes"] / 2**20
            cells.append(f"{middle}, {each['first_cpu_s']:.1f} s, {memory:,.0f} MiB")
        bounds = _ratio(record)
        told = f"{bounds.value:.2f} ({bounds.low:.2f} to {bounds.high:.2f})"
        start = f"| {NAMES[record['network']]} | {record['batch']} | "
        lines.append(f"{start}{' | '.join(cells)} | {told} |")
    return lines


def _ratio(record: Record) -> stats.Interval:
    """Our time over that of the fastest other."""
    found = {c: each["seconds"] for c, each in record["contenders"].items() if "failed" not in each}
    return stats.ratio_to_best(found.pop("staticnet"), list(found.values()))


def means(found: Sequence[Record]) -> str:
    """The geometric mean of the ratios, and the greatest."""
    ratios = [_ratio(record).value for record in found]
    mean = statistics.geometric_mean(ratios)
    return f"geometric mean {mean:.2f}, greatest {max(ratios):.2f}, of {len(ratios)}"


def records(options: argparse.Namespace, folder: Path) -> Iterator[Record]:
    """The records of all networks that were asked for."""
    from bench.architectures import ARCHITECTURES

    for name in options.only or [n for n in ARCHITECTURES if n != "mobilenet_v3_small"]:
        for batch in options.batches:
            yield compare(name, batch, folder, options)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, default=60.0)
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, nargs="+", help="print records, and measure nothing")
    options = parser.parse_args(arguments)
    if options.table:
        kept = [json.loads(file.read_text(encoding="utf-8"))["records"] for file in options.table]
        print("\n".join([*table([r for each in kept for r in each]), ""]))
        print(means([r for each in kept for r in each]))
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # of all processes
    about = environment.describe(1)
    found, ratios = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for record in records(options, options.folder or Path(temporary)):
            text, ratio = line(record)
            print(text, flush=True)
            found.append(record)
            ratios += [ratio] if ratio == ratio else []
            if options.out:
                options.out.write_text(json.dumps({"about": about, "records": found}) + "\n")
    if ratios:
        mean, most = statistics.geometric_mean(ratios), max(ratios)
        print(f"geometric mean {mean:.2f}, greatest {most:.2f}, of {len(ratios)}")


if __name__ == "__main__":
    main()
