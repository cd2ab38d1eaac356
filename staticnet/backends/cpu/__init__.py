"""The CPU backend: a graph as one C file, built by a C compiler, kept in a cache and loaded."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from staticnet.backends.base import Executable, HostBackend
from staticnet.backends.cpu import products
from staticnet.backends.cpu.blas import PROTOTYPES
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cpu.executable import CpuExecutable
from staticnet.backends.cpu.profile import profile
from staticnet.backends.numpy import NumpyBackend
from staticnet.backends.profile import Profile
from staticnet.codegen.program import Program, write_program
from staticnet.errors import CompileError
from staticnet.ir.dtype import FLOAT32, HALVES
from staticnet.ir.graph import Graph
from staticnet.ir.hints import install
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.auxiliary import AuxiliaryProduct
from staticnet.ops.library import ADDS, MatmulAdd, MatmulEpilogue
from staticnet.ops.linalg import Matmul
from staticnet.plan.held import SMALL_PRODUCT
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan
from staticnet.spatial.epilogue import ConvolutionEpilogue

__all__ = ["CpuBackend"]
log = logging.getLogger("staticnet")
_told: set[str] = set()


def _is_large_product(node: Node) -> bool:
    """Whether a node's routine calls the library of products."""
    if not isinstance(node.op, Matmul) or node.dtype != FLOAT32:
        return False
    return math.prod((*fixed(node.shape)[-2:], fixed(node.inputs[0].shape)[-1])) > SMALL_PRODUCT


EXPANDED_BY: dict[type, str] = {
    MatmulEpilogue: "library",
    AuxiliaryProduct: "auxiliary",
    ConvolutionEpilogue: "convolution_epilogues",
}
"""Ops of other backends' libraries, and the passes that write them out."""


class CpuBackend(HostBackend):
    """Compiles a graph to one C function; without a C compiler it is NumPy, and says so once.

    With `parallel=False` the function runs on the calling thread alone, which leaves the cores to
    a BLAS whose threads are still there, spinning, between the products of others.
    """

    name = "cpu"
    epilogues = frozenset({ADDS})
    narrow_epilogues: frozenset[str] = frozenset()
    products = frozenset({"float32", "float64", "winograd", "held"})
    loop_cache = 1 << 19

    def __init__(self, parallel: bool = True) -> None:
        self.parallel = parallel

    def build(
        self,
        graph: Graph,
        disabled_passes: Collection[str] = (),
        plan: Callable[[], Plan] | None = None,
        precision: str = "float32",
    ) -> Executable:
        """The compiled program of an optimised graph.

        Raises:
            CompileError: if the compiler that was asked for does not work, or the graph holds an op
                of another backend's library and the pass that expands it was left out.
        """
        for node in graph.nodes:
            halves = isinstance(node.op, MatmulAdd) and node.dtype in HALVES
            known = (of for kind, of in EXPANDED_BY.items() if isinstance(node.op, kind))
            expands = "library" if halves else next(known, None)
            if expands is not None:
                raise CompileError(
                    f"{node.op.name}: the cpu backend has no such routine ({node.provenance}); "
                    f"take {expands!r} out of disabled_passes"
                )
        compiler = find_compiler()
        if compiler is not None:
            compiler = compiler if self.parallel else compiler.serial()
            if any(_is_large_product(node) for node in graph.all_nodes):
                products.begin(compiler)
            fuse = "fusion" not in disabled_passes
            return CpuExecutable(plan() if plan else make_plan(graph, fuse), compiler)
        if "compiler" not in _told:
            _told.add("compiler")
            log.warning(
                "no C compiler was found: device cpu runs on NumPy, slowly; "
                "install gcc or clang, or %s",
                install("cc"),
            )
        return NumpyBackend().build(graph)

    def program(self, plan: Plan, disabled_passes: Collection[str] = ()) -> Program:
        """The C program of a plan, not yet compiled."""
        return write_program(plan, PROTOTYPES)

    def profile(self, executable: Executable, feeds: Sequence[Any], repeat: int | None) -> Profile:
        """The time of each launch; without a C compiler, of each node on NumPy."""
        if isinstance(executable, CpuExecutable):
            return profile(executable, feeds, repeat)
        return NumpyBackend().profile(executable, feeds, repeat)
