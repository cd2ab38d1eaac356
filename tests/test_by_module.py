"""What a function takes is shown and summed by the modules that made its nodes."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import ArgumentError
from staticnet.report import document_page

COMPILES = True
compiled = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
DEVICES = ["numpy", pytest.param("cpu", marks=compiled)]
B, N, M = 8, 6, 4
FEEDS = [np.ones((B, N), np.float32)]


class Encoder(sn.nn.Module):
    def __init__(self) -> None:
        self.fc1, self.fc2 = sn.nn.Linear(N, M), sn.nn.Linear(M, M)

    def forward(self, x: Any) -> Any:
        return sn.tanh(self.fc2(sn.sigmoid(self.fc1(x))))


class Model(sn.nn.Module):
    def __init__(self) -> None:
        self.encoder, self.head = Encoder(), sn.nn.Linear(M, 1)

    def forward(self, x: Any) -> Any:
        return sn.exp(self.head(self.encoder(x)))


@cache
def predict(device: str = "numpy", batch: int | str = B) -> Any:
    sn.manual_seed(0)
    x = sn.placeholder((batch, N), name="x")
    return sn.function(x, sn.sum(Model()(x)), device=device, name="predict")


@cache
def training(device: str = "numpy", batch: int | str = B) -> Any:
    sn.manual_seed(0)
    x = sn.placeholder((batch, N), name="x")
    loss = sn.mean(Model()(x))
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    return sn.function(x, loss, updates=updates, device=device, name="training")


def summed(rows: Any) -> Any:
    return tuple(sum(column) for column in zip(*rows.values(), strict=True))


class TestCost:
    def test_each_module_has_the_work_of_its_nodes(self) -> None:
        cost = predict().cost_analysis()
        rows = cost.by_module()
        products = {"encoder.fc1": 2 * B * N * M, "encoder.fc2": 2 * B * M * M, "head": 2 * B * M}
        biases = {"encoder.fc1": B * M, "encoder.fc2": B * M, "head": B}
        for path, flops in products.items():
            assert rows[path].flops == flops + biases[path]
        # sigmoid and tanh of [B, M]; exp and the sum of [B, 1]
        assert list(rows) == ["encoder.fc1", "encoder", "encoder.fc2", "head", ""]
        assert summed(rows) == (cost.flops, cost.bytes)
        (sigmoid,) = [n for n in cost.nodes if n.op == "sigmoid"]
        assert sigmoid.modules == ("encoder",)
        assert "encoder" not in sigmoid.lines

    def test_paths_are_cut(self) -> None:
        rows = predict().cost_analysis().by_module(depth=1)
        assert list(rows) == ["encoder", "head", ""]
        assert (
            predict().cost_analysis().by_module(np.int64(2))
            == predict().cost_analysis().by_module()
        )
        for wrong in (0, -1, 1.5, "1", True):
            with pytest.raises(ArgumentError, match="by_module: depth"):
                predict().cost_analysis().by_module(wrong)

    def test_formulas_add_up(self) -> None:
        cost = training(batch="b").cost_analysis()
        rows = cost.by_module()
        assert summed(rows) == (cost.flops, cost.bytes)
        fixed = training(batch=B).cost_analysis().by_module()
        for path in ("encoder.fc1", "encoder.fc2", "head"):
            assert rows[path].flops.substitute({"b": B}) == fixed[path].flops

    def test_a_gradient_is_its_layers(self) -> None:
        forward, step = (
            predict().cost_analysis().by_module(),
            training().cost_analysis().by_module(),
        )
        # the gradient of x @ w is two products, of which the first layer needs one
        assert step["encoder.fc2"].flops >= 3 * forward["encoder.fc2"].flops - 2 * B * M
        assert 2 * 2 * B * N * M <= step["encoder.fc1"].flops < 3 * 2 * B * N * M

    def test_text(self) -> None:
        lines = str(predict().cost_analysis()).splitlines()
        assert any(re.search(r"matmul .*py:\d+, in encoder\.fc2$", line) for line in lines)
        at = next(i for i, line in enumerate(lines) if line.startswith("module "))
        assert lines[at].split() == ["module", "flops", "bytes"]
        assert [line.split()[0] for line in lines[at + 1 : -1]] == [
            "encoder.fc1", "encoder", "encoder.fc2", "head"
        ]  # fmt: skip
        assert lines[-1].startswith("(no module) ")
        x = sn.placeholder((3,), name="x")
        assert "module " not in str(sn.function(x, sn.exp(x)).cost_analysis())


class TestKernels:
    @pytest.mark.parametrize("make", [predict, training])
    def test_they_add_up(self, make: Any) -> None:
        f = make()
        account = f.explain()
        rows = account.by_module()
        assert {"encoder.fc1", "encoder.fc2", "head"} <= set(rows)
        assert summed(rows)[0] == len(account.kernels)
        assert summed(rows)[1:] == (sum(k.bytes for k in account.kernels), account.flops)
        assert summed(account.by_module(1)) == summed(rows)

    def test_a_fused_kernel_has_the_names_of_its_modules(self) -> None:
        account = predict().explain()
        fused = [k for k in account.kernels if k.kind == "map"]
        assert ("encoder.fc1", "encoder") in [k.modules for k in fused]  # bias, then sigmoid
        text = str(account)
        assert re.search(r"kernel \d+: map \[8,4\], .* FLOPs, in encoder\n", text)
        assert re.search(r"= add\(.*// .*test_by_module\.py:\d+, in encoder\.fc1\n", text)
        assert text.splitlines()[-1].split()[0] in ("(no", "head")
        lines = {line for k in account.kernels for line in k.lines}
        assert not any("encoder" in line for line in lines)

    def test_the_source_says_it(self) -> None:
        source = predict("cpu").source()
        assert re.search(r"// kernel \d+, map \[8,4\]: .*, in encoder\n", source)
        assert re.search(r"\{ // kernel \d+, matmul .*, in encoder\.fc2\n", source)


class TestMemory:
    def test_owners_say_whose_they_are(self) -> None:
        memory = training().memory_analysis()
        rows = memory.by_module()
        assert summed(rows) == (sum(o.bytes for o in memory.owners),)
        assert any(path.startswith("encoder") for path in rows)
        for owner in memory.owners:
            assert "in " not in owner.lines.replace("algebraic_simplify", "")
            told = f", in {owner.modules[0]})" if len(owner.modules) == 1 else ")"
            assert any(
                owner.value in line and line.endswith(told) for line in str(memory).splitlines()
            )

    def test_the_certificate_does(self) -> None:
        f = training(batch="b")
        certificate = f.memory_analysis()
        rows = certificate.by_module()
        assert any(path.startswith("encoder") for path in rows)
        assert re.search(r"bytes: .*\(.*, in encoder\S*\)\n", str(certificate) + "\n")
        assert "*b" in str(certificate.by_module(depth=1))


class TestProfile:
    @pytest.mark.parametrize("device", DEVICES)
    def test_times_add_up(self, device: str, tmp_path: Path) -> None:
        profile = training(device).profile(*FEEDS, repeat=3)
        rows = profile.by_module()
        seconds, share, moved, flops = summed(rows)
        assert seconds == pytest.approx(profile.seconds)
        assert share == pytest.approx(1)
        assert (moved, flops) == tuple(
            sum(getattr(t.part, field) for t in profile.parts) for field in ("bytes", "flops")
        )
        assert {"encoder.fc1", "encoder.fc2", "head"} <= set(rows)
        table = str(profile).splitlines()
        assert table[2].split()[-2:] == ["module", "from"]
        at = next(i for i, line in enumerate(table) if line.startswith("module "))
        assert table[at].split() == ["module", "seconds", "share", "bytes", "flops"]
        assert len(table) == at + 1 + len(rows)
        profile.to_chrome_trace(tmp_path / "trace.json")
        trace = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
        events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
        assert {"encoder.fc2"} <= {event["args"]["module"] for event in events}

    def test_what_has_no_modules_has_no_column(self) -> None:
        x = sn.placeholder((3,), name="x")
        text = str(sn.function(x, sn.exp(x), device="numpy").profile(np.ones(3, "f"), repeat=1))
        assert "module " not in text
        assert "kernels" not in text


class TestReport:
    @pytest.mark.parametrize("device", DEVICES)
    def test_the_document_has_them(self, device: str) -> None:
        f = training(device)
        document = f.document(*FEEDS)
        account = f.explain()
        assert document["modules"] == [
            {"module": path, **row._asdict()} for path, row in account.by_module().items()
        ]
        for kernel, described in zip(account.kernels, document["kernels"], strict=True):
            assert bool(described["module"]) == bool(kernel.modules)
        paths = {node["module"] for graph in document["graphs"] for node in graph["nodes"]}
        assert {"", "encoder", "encoder.fc1", "encoder.fc2", "head"} <= paths
        assert any(block["module"].startswith("encoder") for block in document["memory"]["blocks"])
        rows = document["profile"]["modules"]
        assert sum(row["seconds"] for row in rows) == pytest.approx(document["profile"]["seconds"])
        assert {part["module"] for part in document["profile"]["parts"]} == {
            row["module"] for row in rows
        }
        assert "encoder.fc2" in document_page(document)

    def test_without_modules_there_is_no_table(self) -> None:
        x = sn.placeholder((3,), name="x")
        document = sn.function(x, sn.exp(x)).document(np.ones(3, np.float32))
        assert document["modules"] == document["profile"]["modules"] == []
        assert {node["module"] for node in document["graphs"][-1]["nodes"]} == {""}
