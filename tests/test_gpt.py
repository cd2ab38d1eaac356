"""GPT-2 of layers: what its step takes on a GPU that is not there, and what it learns."""

from __future__ import annotations

from typing import Any

import char_gpt
import numpy as np
import pytest
from tolerance import close

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cuda import CudaBackend
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import Compilation
from staticnet.plan.analysis import analyse_memory

COMPILES = True
needs_cc = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")


def on_cuda(f: Any, precision: str) -> Any:
    """The plan of a function for a GPU."""
    made = Compilation(f.graph, CudaBackend(), "fast", precision, (), None)
    return made.plan(made.compile({})[0], {})


@pytest.mark.slow
def test_gpt2_fits_and_how_often_it_launches() -> None:
    """Batch 8 of 1024 tokens; PyTorch compiled takes 5.1 GB on an H100, eager 8.9."""
    model = char_gpt.GPT(char_gpt.GPT2)
    step = char_gpt.training_step(model, 8, precision="bfloat16", device="numpy")
    plan = on_cuda(step, "bfloat16")
    assert analyse_memory(plan).peak < 5.4e9
    assert plan.launches <= 280
    program = write_cuda_program(plan)
    assert program.arena_bytes <= plan.arena_bytes
    called = {n for g, n in program.functions.items() if g.kind.startswith("attention")}
    assert len(called) == 2, "of all layers one kernel forward and two back"


@pytest.mark.slow
def test_gpt2_fits_with_attention_written_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """All scores of 12 layers are 4.8 GB in 16 bits; none is left."""

    def by_hand(q: Any, k: Any, v: Any, is_causal: bool) -> Any:
        assert is_causal
        mask = sn.constant(np.tri(q.shape[2], dtype=bool))
        scores = q @ sn.matrix_transpose(k) * float(q.shape[3]) ** -0.5
        return sn.nn.softmax(sn.where(mask, scores, -1e9), axis=-1) @ v

    monkeypatch.setattr(sn.nn, "scaled_dot_product_attention", by_hand)
    model = char_gpt.GPT(char_gpt.GPT2)
    step = char_gpt.training_step(model, 8, precision="bfloat16", device="numpy")
    plan = on_cuda(step, "bfloat16")
    assert analyse_memory(plan).peak < 6.5e9


def test_a_layer_keeps_little() -> None:
    """Of a block: the residual path, 16-bit operands of its products, and row sums."""
    sizes = {"vocabulary": 64, "heads": 2, "width": 64, "length": 128}
    peaks = []
    for layers in (2, 4):
        config = char_gpt.Config(layers=layers, **sizes)
        f = char_gpt.training_step(char_gpt.GPT(config), 4, precision="bfloat16", device="numpy")
        peaks.append(analyse_memory(on_cuda(f, "bfloat16")).arena)
    elements = 4 * 128 * 64
    wide = 4 + (1 + 3 + 1 + 1 + 1 + 4 + 4) * 2  # the path; norms, q k v, y, its product, the MLP
    assert (peaks[1] - peaks[0]) / 2 < 1.1 * wide * elements


@needs_cc
def test_it_learns_alike_on_all_devices() -> None:
    config = char_gpt.Config(vocabulary=17, layers=2, heads=2, width=16, length=12)
    losses = {}
    tokens = np.random.default_rng(0).integers(0, 17, (6, 13)).cumsum(1) % 17
    for device, precision in (("numpy", "float32"), ("cpu", "float32"), ("cpu", "bfloat16")):
        sn.manual_seed(0)
        step = char_gpt.training_step(char_gpt.GPT(config), 6, device=device, precision=precision)
        losses[device, precision] = [float(step(tokens[:, :-1], tokens[:, 1:])) for _ in range(8)]
    reference = np.array(losses["numpy", "float32"])
    assert reference[-1] < reference[0] - 0.03
    close(np.array(losses["cpu", "float32"]), reference, 1e-3)
    close(np.array(losses["cpu", "bfloat16"]), reference, 5e-2)
