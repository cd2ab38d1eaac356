"""What compiled kernels take and do: registers, shared and local memory, accesses, matrix units."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import pytest
from cubin import Kernel, kernels_of
from gpu_cases import STEPS

import staticnet as sn
from staticnet.backends.cuda import CudaBackend
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.codegen.commands import Launch, LibraryCall, walk
from staticnet.codegen.cuda.persistent import NAME
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.launches import CudaProgram
from staticnet.compilation import Compilation

nvrtc: Any = find_nvrtc()
pytestmark = pytest.mark.skipif(nvrtc is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")
ARCHITECTURES = ("sm_80", "sm_90")
REGISTERS = 1 << 16  # of a multiprocessor
RESERVED = 1024  # bytes of a block's shared memory that sm_90 takes for itself


class Most(NamedTuple):
    """What kernels of a kind may take: registers of a thread, shared bytes; no local memory.

    `occupancy` is the least share of a multiprocessor's threads that their blocks fill.
    """

    registers: int
    shared: int
    occupancy: float


MOST = {
    "map": Most(72, 4224, 0.375),  # one that transposes goes through a tile
    "beside": Most(80, 3 * 4224, 0.375),  # maps, each with a tile, or columns in one launch
    "rows": Most(80, 256, 0.375),
    "columns": Most(64, 2048, 0.5),  # 1024 a reduction
    "attention": Most(128, 28 << 10, 0.1875),
    "attention_gradient": Most(255, 37 << 10, 0.125),
    "scatter_add": Most(48, 4096, 0.625),
    "scan": Most(168, 0, 0.125),  # a loop as one kernel, beside what its launch asks for
    "persistent": Most(255, 25 << 10, 0.125),  # a step as one kernel
    "convolution": Most(255, 48 << 10, 0.125),
    "convolution_input": Most(255, 48 << 10, 0.125),
    "convolution_weight": Most(255, 48 << 10, 0.125),
    "convolution_epilogue": Most(255, 48 << 10, 0.125),
}
OTHER = Most(64, 8192, 0.375)
# of a multiprocessor: shared bytes, and threads, of both
SHARED, THREADS = {"sm_80": 164 << 10, "sm_90": 228 << 10}, 2048
BLOCKS, WARP_REGISTERS = 32, 256  # at most, of a multiprocessor; registers of a warp come in these

KNOWN = """
extern "C" __global__ void copies(const float4 *x, float4 *y) {
  __shared__ float4 room[64];
  room[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = room[63 - threadIdx.x];
}
extern "C" __global__ void spills(const int *at, float *y) {
  float held[50];
  for (int i = 0; i < 50; ++i) held[at[i]] = y[i];
  for (int i = 0; i < 50; ++i) y[i] = held[at[50 + i]];
}
extern "C" __global__ void multiplies(const unsigned *x, float *d) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(x[4]), "r"(x[5]));
}
"""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_reader_tells_what_is_known(architecture: str) -> None:
    found = kernels_of(nvrtc.compile(KNOWN, architecture))
    copies, spills, multiplies = (found[name] for name in ("copies", "spills", "multiplies"))
    assert {f"{op}.128" for op in ("LDG", "STG", "LDS", "STS")} <= copies.does.keys()
    assert copies.shared - RESERVED * (architecture == "sm_90") == 1024
    assert (copies.frame, multiplies.frame) == (0, 0)
    assert spills.frame == 200
    assert spills.does["LDL"]
    assert spills.does["STL"]
    assert multiplies.does["HMMA"] == 1
    assert not copies.does["HMMA"]
    assert all(8 <= kernel.registers <= 64 for kernel in found.values())


def compiled(f: Any, architecture: str) -> list[tuple[str, Launch, Kernel]]:
    """Each launch of a function's step on a GPU, with its kind and its kernel."""
    backend = CudaBackend()
    made = Compilation(f.graph, backend, "fast", f.precision, (), None)
    plan = made.plan(made.compile({})[0], {})
    return kernels_by_launch(write_cuda_program(plan, f.precision == "tf32"), architecture)


def kernels_by_launch(program: CudaProgram, architecture: str) -> list[tuple[str, Launch, Kernel]]:
    """Each launch of a program, with its kind and its kernel."""
    kernels = kernels_of(nvrtc.compile(program.source, architecture))
    launches = [each for each in walk(program.launches) if isinstance(each, Launch)]
    kinds = {
        name: group.kind for group, names in program.functions.items() for name in names.split(", ")
    } | {NAME: "persistent"}
    return [(kinds.get(x.function, "beside"), x, kernels[x.function]) for x in launches]


def check(f: Any, architecture: str) -> dict[str, list[Kernel]]:
    """The kernels by kind, none of which takes more than the table allows."""
    return within_the_table(compiled(f, architecture), architecture)


def within_the_table(
    launches: list[tuple[str, Launch, Kernel]], architecture: str
) -> dict[str, list[Kernel]]:
    """The same of launches that are compiled."""
    found: dict[str, list[Kernel]] = {}
    for kind, launch, kernel in launches:
        most, told = MOST.get(kind, OTHER), f"{kind} {launch.function}: {kernel}"
        assert kernel.frame == 0, told
        assert kernel.registers <= most.registers, told
        assert own_shared(kernel, architecture) <= most.shared, told
        assert occupancy(launch, kernel, architecture) >= most.occupancy, told
        found.setdefault(kind, []).append(kernel)
    return found


def own_shared(kernel: Kernel, architecture: str) -> int:
    """Bytes of a block's shared memory that are the text's own."""
    return kernel.shared - RESERVED * (architecture == "sm_90") * (kernel.shared > 0)


def occupancy(launch: Launch, kernel: Kernel, architecture: str) -> float:
    """The share of a multiprocessor's threads that blocks fill which find room at once."""
    threads = math.prod(launch.block)
    warps = -(-threads // 32)
    registers = -(-kernel.registers * 32 // WARP_REGISTERS) * WARP_REGISTERS * warps
    shared = own_shared(kernel, architecture) + launch.shared_bytes + RESERVED
    blocks = min(
        BLOCKS, REGISTERS // registers, THREADS // (32 * warps), SHARED[architecture] // shared
    )
    return blocks * 32 * warps / THREADS


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        pytest.param(
            name, a, marks=[] if (name, a) == ("layer_norm", "sm_90") else pytest.mark.slow
        )
        for name in STEPS
        for a in ARCHITECTURES
    ],
)
def test_training_steps_keep_within_the_table(name: str, architecture: str) -> None:
    check(STEPS[name]()[0], architecture)


def test_packs_are_moved_16_bytes_at_a_time() -> None:
    """Maps and rows whose length is a multiple of a pack; Adam's update with them."""
    x, w = sn.placeholder((256, 1024), name="x"), sn.variable(sn.nn.init.zeros((1024,)), "w")
    loss = sn.sum(sn.square(sn.nn.softmax(x * w)))
    f = sn.function(x, [], updates=sn.optim.Adam().minimize(loss), device="numpy")
    found = check(f, "sm_90")
    updates = [*found.get("map", []), *found.get("beside", [])]
    assert any(k.does["LDG.128"] and k.does["STG.128"] for k in updates)
    assert all(k.does["LDG.128"] for k in found["rows"])
    parts = [sn.placeholder((64, n), "bfloat16") for n in (256, 128)]
    found = check(sn.function(parts, sn.concat(parts, 1), device="numpy"), "sm_90")
    assert all(k.does["STG.128"] for k in found["concat"])


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_long_rows_stay_in_registers(architecture: str) -> None:
    """Blocks of 1024 threads have 64 registers each, half of which may hold a row."""
    made = []
    for n, dtype in (
        (65536, "bfloat16"),
        (50304, "float16"),
        (50257, "float16"),
        (32768, "bfloat16"),
        (16384, "float32"),
    ):
        x, t = sn.placeholder((300, n), dtype, "x"), sn.placeholder((300,), "int64", "t")
        w = sn.placeholder((n,), dtype, "w")
        made.append(([x, t], sn.nn.functional.cross_entropy(x, t)))
        if n % 2 == 0:
            for result in (sn.nn.softmax(x), sn.logsumexp(x, axis=-1)):
                made.append(([x], sn.sum(sn.astype(result, "float32") ** 2)))
            y = sn.nn.functional.layer_norm(x, (n,), w, w)
            made.append(([x, w], sn.sum(sn.astype(y, "float32") ** 2)))
    for inputs, loss in made:
        x = inputs[0]
        f = sn.function(inputs, sn.grad(loss, [x]), device="numpy")
        rows = [each for each in compiled(f, architecture) if each[0] == "rows"]
        assert any(math.prod(launch.block) == 1024 for _, launch, _ in rows)
        for _, launch, kernel in rows:
            assert kernel.frame == 0, f"{launch.function} of {x.type}: {kernel}"
            if math.prod(launch.block) == 1024 and x.shape[1] % 2 == 0:
                assert kernel.does["LDG.128"] or kernel.does["LDG.64"]


@pytest.mark.slow
def test_products_of_16_bits_are_on_matrix_units() -> None:
    """Attention whose heads lie in one product, and convolutions with channels last."""
    x = sn.placeholder((2, 128, 3, 4, 64), "bfloat16", "x")
    q, k, v = (sn.permute_dims(x[:, :, i], (0, 2, 1, 3)) for i in range(3))
    y = sn.nn.scaled_dot_product_attention(q, k, v, is_causal=True)
    f = sn.function(x, sn.grad(sn.sum(sn.astype(y, "float32") ** 2), [x]), device="numpy")
    found = check(f, "sm_90")
    for kernel in (*found["attention"], *found["attention_gradient"]):
        assert kernel.does["HMMA"]
        assert kernel.does["LDG.128"], "rows of 64 features, 16 bytes at a time"
        assert not kernel.does["LDG.16"]
    for dtype, precision in (("bfloat16", "float32"), ("float32", "tf32")):
        x, w = (
            sn.placeholder((8, 64, 16, 16), dtype, "x"),
            sn.placeholder((64, 64, 3, 3), dtype, "w"),
        )
        y = sn.nn.functional.conv2d(x, w, padding=1)
        grads = sn.grad(sn.sum(sn.astype(y, "float32") ** 2), [x, w])
        found = check(sn.function([x, w], grads, device="numpy", precision=precision), "sm_80")
        kinds = [kind for kind in found if kind.startswith("convolution")]
        assert len(kinds) == 3
        for kind in kinds:
            multiply = [kernel for kernel in found[kind] if kernel.does["HMMA"]]
            assert multiply, kind
            for kernel in multiply:  # weights too, though the user's have channels apart
                assert kernel.does["LDG.128"], kind
                assert not kernel.does["LDG.16"], kind


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_heads_of_more_features_than_a_block_has_keep_within_the_table(architecture: str) -> None:
    q = sn.placeholder((2, 4, 130, 80), "float32", "q")
    y = sn.nn.scaled_dot_product_attention(q, q, q)
    for precision in ("float32", "tf32"):
        grads = sn.grad(sn.sum(sn.square(y)), [q])
        check(sn.function(q, grads, device="numpy", precision=precision), architecture)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_two_blocks_of_a_convolution_find_room(architecture: str) -> None:
    """Of large tiles, also with what follows the sum; and four of small ones."""
    nn = sn.nn.functional
    for dtype, precision in (("bfloat16", "float32"), ("float32", "tf32")):
        shapes = {"x": (32, 64, 28, 28), "w": (256, 64, 3, 3), "b": (256,), "v": (64, 256, 3, 3)}
        x, w, b, v = (sn.placeholder(shape, dtype, name) for name, shape in shapes.items())
        y = nn.conv2d(nn.relu(nn.conv2d(x, w, b, padding=1)), v, padding=1)
        launches = compiled(
            sn.function([x, w, b, v], y, device="numpy", precision=precision), architecture
        )
        tiles = [each for each in launches if each[2].does["HMMA"]]
        assert {math.prod(launch.block) for _, launch, _ in tiles} == {128, 256}
        for _, launch, kernel in tiles:
            assert kernel.frame == 0
            assert occupancy(launch, kernel, architecture) >= 0.25


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_delta_is_made_of_the_result_that_cudnn_takes(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What own kernels do where cuDNN is offered: one more, which is small, for delta."""
    monkeypatch.setattr("staticnet.backends.cuda.find_cudnn", object)
    q = sn.placeholder((2, 4, 128, 64), "bfloat16", "q")
    y = sn.nn.scaled_dot_product_attention(q, q, q, is_causal=True)
    slope = sn.grad(sn.sum(sn.astype(y, "float32") ** 2), [q])
    graph = sn.function(q, slope, device="numpy").graph
    made = Compilation(graph, CudaBackend(), "fast", "float32", (), None)
    program = CudaBackend().program(made.plan(made.compile({})[0], {}))
    _, gradient = (x for x in program.launches if isinstance(x, LibraryCall))
    delta, *others = (launch.function for launch in gradient.own)
    kernels = kernels_of(nvrtc.compile(program.source, architecture))
    assert len(others) == 2
    assert kernels[delta].frame == 0
    assert kernels[delta].registers <= OTHER.registers


WORKLOADS = (
    "playground", "mlp", "cifar_lenet", "cifar_bn", "char_gpt", "char_lstm", "resnet18", "resnet50",
    "vit_b16", "gpt2_124m", "gpt2_124m_32", "pointwise", "softmax", "layer_norm", "adam",
)  # fmt: skip
DEFAULT = ("pointwise", "softmax")
FUNCTION = re.compile(
    r'^(?:extern "C" __global__|static __device__) void (?:__launch_bounds__\([\d, ]+\)\s*)?'
    r"(\w+)(\(.*?^\})", re.DOTALL | re.MULTILINE,
)  # fmt: skip
PACK = re.compile(r"sn_(read|write)<(\d+)>\((p\d+)\b")
BITS = {"float": 32, "int": 32, "unsigned": 32, "double": 64, "int64_t": 64, "uint64_t": 64}


def promises(text: str) -> set[str]:
    """The accesses of 16 bytes that a function's text has in it: LDG.128, STG.128."""
    promised = set()
    for act, count, pointer in PACK.findall(text):
        declared = re.search(rf"(\w+) \*(?:__restrict__ )?{pointer}\b", text)
        bits = BITS.get(declared[1], 16 if "16" in declared[1] else 8) if declared else 0
        if int(count) * bits >= 128:
            promised.add("LDG.128" if act == "read" else "STG.128")
    return promised


def kept(program: CudaProgram, launches: list[tuple[str, Launch, Kernel]]) -> int:
    """How many promises of accesses the kernels' texts make; each is kept."""
    texts, count = dict(FUNCTION.findall(program.body)), 0
    for name, kernel in {launch.function: kernel for _, launch, kernel in launches}.items():
        called = [texts[x] for x in re.findall(r"\bm\d+(?:_\d+)*\b", texts[name]) if x in texts]
        for access in set[str]().union(*map(promises, [texts[name], *called])):
            assert kernel.does[access], f"{access} of {name}"
            count += 1
    return count


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        pytest.param(name, a, marks=[] if name in DEFAULT and a == "sm_90" else pytest.mark.slow)
        for name in WORKLOADS
        for a in ARCHITECTURES
    ],
)
def test_workloads_keep_within_the_table(name: str, architecture: str) -> None:
    """Every kernel: no spills; 16 bit products on matrix units; 16 bytes where the text says so."""
    cases = pytest.importorskip("test_workload_launches")
    f = cases.CASES[name]()
    program = cases.planned(f)[1]
    launches = kernels_by_launch(program, architecture)
    found = within_the_table(launches, architecture)
    assert kept(program, launches) or "persistent" in found
    for kind, kernels in found.items():
        least = min(occupancy(x, k, architecture) for other, x, k in launches if other == kind)
        print(
            f"{name} {architecture} {kind}: {max(k.registers for k in kernels)} registers, "
            f"{max(own_shared(k, architecture) for k in kernels)} bytes shared, "
            f"{least:.0%} occupied"
        )
        if kind.startswith(("attention", "convolution")) and f.precision != "float32":
            multiplies = [kernel for kernel in kernels if kernel.does["HMMA"]]
            assert multiplies, kind
            assert kind.startswith("convolution") or len(multiplies) == len(kernels)
    assert (name in ("playground", "mlp")) == ("persistent" in found)
