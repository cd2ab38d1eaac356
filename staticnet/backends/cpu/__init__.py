"""The CPU backend: a graph as one C file, built by a C compiler, kept in a cache and loaded."""

from __future__ import annotations

import logging
from collections.abc import Collection

from staticnet.backends.base import Executable
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cpu.executable import CpuExecutable
from staticnet.backends.numpy import NumpyBackend
from staticnet.ir.graph import Graph

__all__ = ["CpuBackend"]
log = logging.getLogger("staticnet")
_told: set[str] = set()


class CpuBackend:
    """Compiles a graph to one C function; without a C compiler it is NumPy, and says so once."""

    name = "cpu"

    def build(self, graph: Graph, disabled_passes: Collection[str] = ()) -> Executable:
        """The compiled program of an optimised graph.

        Raises:
            CompileError: if the compiler that was asked for does not work.
        """
        compiler = find_compiler()
        if compiler is not None:
            return CpuExecutable(graph, compiler, fuse="fusion" not in disabled_passes)
        if "compiler" not in _told:
            _told.add("compiler")
            log.warning(
                "no C compiler was found: device cpu runs on NumPy, slowly; "
                'install gcc or clang, or run: pip install "staticnet[cc]"'
            )
        return NumpyBackend().build(graph)
