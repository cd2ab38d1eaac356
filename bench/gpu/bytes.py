"""The bytes that training steps read and write on a GPU, counted without one, beside PyTorch's.

    python -m bench.gpu.bytes [--networks NAME ...] [--out FILE.json]

Ours are the plan's: each kernel's buffers once, as `plan.bytes_moved` has them, and the certificate
of memory. Of `torch.compile` it is what Inductor's scheduler counts of each kernel after fusion, of
products, attention and convolutions their operands and results, and of the fused optimizer what it
reads and writes; its memory is Inductor's estimate for both ways, with weights, moments and the
batch beside, as ours has them.
It plans for an H100 that `described.py` describes. Attention is the flash kernel's. What Inductor
pads products with, which it decides by measuring, is left out, and so is what allocators round.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu.networks import NETWORKS_OF_THE_GPU, Network
from staticnet.cli.text_networks import CHARACTERS, character_gpt

STATES = {"AdamW": 2, "SGD": 1}  # moments, or the momentum, beside each weight
RESULTS = Path(__file__).parent.parent / "results" / "gpu_bytes.json"
SMALL = replace(
    {n.name: n for n in NETWORKS_OF_THE_GPU}["gpt2_124m"], name="char_gpt", model=character_gpt,
    example=(64,), classes=CHARACTERS, batch=12, about="4 layers of 128, 64 tokens, batch 12",
)  # fmt: skip
NETWORKS = {
    n.name: n for n in (*NETWORKS_OF_THE_GPU, SMALL) if n.name not in ("char_lstm", "gpt2_124m_32")
}
Counts = dict[str, int]


def count_ours(net: Network) -> Counts:
    """Bytes moved and held at the peak, by the plan."""
    from staticnet.backends.cuda import CudaBackend
    from staticnet.compilation import Compilation
    from staticnet.plan.analysis import analyse_memory

    dtype = "int64" if net.is_text else "float32"
    f = net.staticnet_step({"x": np.empty(0, dtype)} | net.weights(), "numpy")
    made = Compilation(f.graph, CudaBackend(), "fast", f.precision, (), None)
    plan = made.plan(made.compile({})[0], {})
    return {"moved": plan.bytes_moved, "peak": analyse_memory(plan).peak}


def _lowered(gm: Any, inputs: Any, is_backward: bool) -> Counts:
    """What Inductor's kernels for a graph move, and the memory that they need at most."""
    import torch
    from torch._inductor import compile_fx, memory
    from torch._inductor.debug import DebugContext
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch.utils._ordered_set import OrderedSet

    compile_fx.view_to_reshape(gm)
    with torch.no_grad():
        mode = compile_fx.fake_tensor_prop(gm, inputs)
    with V.set_fake_mode(mode):
        compile_fx._recursive_post_grad_passes(gm, is_inference=False)
        graph = GraphLowering(gm, inputs, gm.shape_env, is_backward=is_backward)
        graph.freeze_runtime_asserts()
        with (
            V.set_graph_handler(graph),
            V.set_extern_kernel_nodes([]),
            V.set_debug_handler(DebugContext()),
        ):
            graph.run(*inputs)
            graph.init_wrapper_code()
            graph._update_scheduler()
            own = graph.scheduler
            names = map(OrderedSet, (graph.graph_inputs.keys(), graph.get_output_names()))
            peak, _ = memory.prepare_planning_info(
                own.nodes, own.name_to_buf, own.name_to_fused_node, *names
            )
            moved = sum(node.get_read_write_buffers_sizes() for node in own.nodes)
    return {"moved": moved, "peak": peak}


def count_theirs(net: Network) -> Counts:
    """The same of `torch.compile`, for the described GPU."""
    import torch
    from functorch.compile import make_boxed_func
    from torch._inductor import compile_fx
    from torch._subclasses.fake_tensor import FakeTensorMode

    found: list[Counts] = []

    def inner(gm: Any, inputs: Any, **options: Any) -> Any:
        compile_fx._recursive_record_original_output_strides(gm)
        runs = copy.deepcopy(gm)
        found.append(_lowered(gm, inputs, options.get("is_backward", False)))
        return make_boxed_func(runs.forward)

    def flash(q: Any, k: Any, v: Any, is_causal: bool = False) -> Any:
        made = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, is_causal)
        return made[0]

    torch.nn.functional.scaled_dot_product_attention = flash

    def objective(x: Any, y: Any) -> Any:
        with torch.autocast("cuda", torch.bfloat16, enabled=net.of_peers == "bfloat16"):
            scores = model(x).reshape(-1, net.classes)
            return torch.nn.functional.cross_entropy(scores, y.reshape(-1))

    with FakeTensorMode(allow_non_fake_inputs=True):
        model = net.model(torch.nn)
        for module in model.modules():
            for held in (module._parameters, module._buffers):
                for name, old in ((k, v) for k, v in held.items() if v is not None):
                    new = torch.empty(old.shape, dtype=old.dtype, device="cuda")
                    is_weight = held is module._parameters
                    held[name] = torch.nn.Parameter(new) if is_weight else new
        shape, token = (net.batch, *net.example), torch.int64
        x = torch.zeros(shape, dtype=token if net.is_text else torch.float32, device="cuda")
        y = torch.zeros(shape if net.is_text else net.batch, dtype=token, device="cuda")
        step = torch.compile(
            objective, dynamic=False,
            backend=lambda gm, inputs: compile_fx.compile_fx(gm, inputs, inner_compile=inner),
        )  # fmt: skip
        step(x, y).backward()
    weights = sum(4 * p.numel() for p in model.parameters())
    states = STATES[net.rule]
    return {
        "moved": sum(c["moved"] for c in found) + weights * (3 + 2 * states),
        "peak": max(c["peak"] for c in found) + weights * (1 + states) + x.nbytes + y.nbytes,
    }


def main() -> None:
    """Count each network in a process of its own, print the table, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--one", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one == "ours":
        print(json.dumps(count_ours(NETWORKS[options.networks[0]])))
        return
    if options.one == "theirs":
        from bench.gpu.described import describe_gpu

        describe_gpu()
        print(json.dumps(count_theirs(NETWORKS[options.networks[0]])))
        return
    kept = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.networks:
        for who in ("ours", "theirs"):
            command = [sys.executable, "-m", "bench.gpu.bytes", "--one", who, "--networks", name]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            kept.setdefault(name, {})[who] = json.loads(told.splitlines()[-1])
        options.out.write_text(json.dumps(kept, indent=1) + "\n")
    heads = ("MB moved", "torch.compile", "ratio", "MB held", "torch.compile")
    print("".join([f"{'network':<12}", *(f"{head:>14}" for head in heads)]))
    for name, found in kept.items():
        (a, p), (b, q) = ((c["moved"], c["peak"]) for c in (found["ours"], found["theirs"]))
        cells = (f"{a / 1e6:,.0f}", f"{b / 1e6:,.0f}", f"{a / b:.2f}", f"{p / 1e6:,.0f}")
        print("".join([f"{name:<12}", *(f"{x:>14}" for x in (*cells, f"{q / 1e6:,.0f}"))]))


if __name__ == "__main__":
    main()
