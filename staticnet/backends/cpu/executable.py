"""Runs a program: one foreign call a step, on the state's own memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.backends.base import HostExecutable
from staticnet.backends.cpu import blas, convolutions, products
from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.library import load, load_together
from staticnet.backends.cpu.outputs import Outputs
from staticnet.backends.host import HostCalls
from staticnet.backends.pieces import next_count
from staticnet.codegen.lapack import LAPACK
from staticnet.codegen.program import Program, write_program
from staticnet.codegen.regions import CORES
from staticnet.ir.arrays import LARGE, READY, address, aligned, allocate
from staticnet.ir.node import failure
from staticnet.ir.types import fixed
from staticnet.ops.base import Constant
from staticnet.ops.state import Variable
from staticnet.ops.turns import Turns
from staticnet.plan.memory import ALIGNMENT
from staticnet.plan.plan import Plan
from staticnet.plan.roles import base
from staticnet.plan.weights import held_weight_bytes, held_weights


class RunArguments(ctypes.Structure):
    """`sn_run_arguments` of the program."""

    _fields_ = [
        ("first", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("period", ctypes.c_int64),
        ("order", ctypes.c_void_p),
        ("feeds", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("row_bytes", ctypes.c_void_p),
        ("output_bytes", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("rooms", ctypes.c_void_p),
        ("results", ctypes.c_void_p),
    ]


class CpuExecutable(HostExecutable):
    """A loaded program with its arena, its constants and the table of addresses it reads.

    `clock` is C that defines what the program's marks do; without it there are none.
    """

    def __init__(self, plan: Plan, compiler: Compiler, clock: str = "") -> None:
        graph = plan.graph
        self.plan = plan
        self.program: Program = write_program(plan, blas.PROTOTYPES, bool(clock))
        self.compiler = compiler
        own = clock + self.program.source
        ways = convolutions.sources(self.program, compiler)
        shared = [(text, compiler.by_hand()) for text in dict.fromkeys(ways.values())]
        shared += [(products.source(), compiler)] if self.program.multiplies else []
        # two pieces where the libraries do not keep all cores busy
        pieces = self.program.pieces() if len(shared) < CORES and not clock else ()
        load_together([(own, compiler, pieces), *((*each, ()) for each in shared)])
        self._library = library = load(own, compiler, pieces)
        gemm = products.pointers(compiler) if self.program.multiplies else (None, None)
        library.sn_set_blas(*map(ctypes.c_void_p, (*gemm, *blas.thread_controls())))
        if self.program.multiplies:
            library.sn_set_same_right(ctypes.c_void_p(products.same_pointer(compiler)))
        if self.program.holds:
            library.sn_set_held(*map(ctypes.c_void_p, products.held_pointers(compiler)))
        for dtype in self.program.lapack:
            letter = {"f32": "s", "f64": "d"}[dtype]
            addresses = blas.pointers(letter + name for name in LAPACK).values()
            table = (ctypes.c_void_p * len(LAPACK))(*addresses)
            getattr(library, f"sn_set_lapack_{dtype}")(table)
        for way, text in ways.items():
            routines = convolutions.routines(text, way, compiler)
            getattr(library, f"sn_set_convolutions_{way}")(routines)
        self._step = library.sn_step
        self._many = library.sn_run
        self._arena = allocate(plan.arena_bytes)
        self._variables = [v for v in graph.variables if isinstance(v, Variable)]
        self._turns = Turns.merge(v.turns for v in self._variables)
        self._held: list[Any] = [None] * len(self._variables)
        self._constants = [_constant(node.op) for node in self.plan.constants]
        self._types = [(fixed(node.shape), node.dtype) for node in graph.outputs]
        self._outputs = Outputs(self._types)
        self._inputs = len(graph.inputs)
        self._first_constant = self._inputs + len(self._variables)
        self._first_output = self._first_constant + len(self._constants)
        self._host = HostCalls(self.program.host_calls)
        size = self._first_output + len(self._types)
        self._table = (ctypes.c_void_p * (size + 2))()
        self._table[size] = self._host.pointer
        self._weights = allocate(held_weight_bytes(graph))
        self._packed = self._held_variables()
        self._versions = [-1] * len(self._packed)
        self._table[size + 1] = address(self._weights)
        for i, array in enumerate(self._constants, self._first_constant):
            self._table[i] = address(array)
        self._c_arena = ctypes.c_void_p(address(self._arena))
        if self.program.multiplies:
            products.complete(compiler)

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """One step: fresh outputs; the variables are updated in place."""
        return self._turns.alone(self._run, feeds)

    def _run(self, feeds: Sequence[Any]) -> list[Any]:
        table = self._table
        held = []
        self._hold_state()
        for i, feed in enumerate(feeds):
            if feed.flags.num & READY != READY:
                feed = feed.copy(order="C")
                held.append(feed)  # until the step is done
            table[i] = address(feed)
        outputs = self._outputs.take()
        for i, output in enumerate(outputs, self._first_output):
            table[i] = address(output)
        if failed := self._step(table, self._c_arena):
            raise self._failure(failed)
        return outputs

    def _hold_state(self) -> None:
        """Point the table at the variables' arrays, which a user may have replaced."""
        for i, variable in enumerate(self._variables):
            array = variable.array
            if array is not self._held[i] or array is None:
                array = variable.host_array()
                unaligned = array.nbytes >= LARGE and address(array) % ALIGNMENT
                if unaligned or not array.flags.c_contiguous:
                    array = variable.array = aligned(array)
                self._table[self._inputs + i] = address(array)
                self._versions = [-1] * len(self._packed)
                self._held[i] = array  # last: a signal may have come before
        versions = [v.version for v in self._packed]
        if versions != self._versions:
            self._weights[:8] = 1  # they are packed anew by the next step
            self._versions = versions

    def _held_variables(self) -> list[Variable]:
        """Those whose packed weights stay, as long as nobody writes to them: that is counted."""
        weights = [base(node.inputs[1]) for node in held_weights(self.plan.graph)]
        found = [w for w in dict.fromkeys(weights) if isinstance(w, Variable)]
        Variable.watched |= bool(found)
        return found

    def run_many(self, data: Sequence[Any], steps: int, batch: int, order: Any = None) -> list[Any]:
        """Steps on rows of the data sets, many in one foreign call: each output stacked."""
        data = [np.require(x, requirements=["C", "A"]) for x in data]
        rooms = [np.empty((batch, *x.shape[1:]), x.dtype) for x in data]
        results = [np.empty((steps, *shape), dtype) for shape, dtype in self._types]
        rows = np.array([x[:1].nbytes for x in data], np.int64)
        output_bytes = np.array([x[:1].nbytes for x in results], np.int64)
        data_table = np.array([address(x) for x in data], np.uintp)
        room_table = np.array([address(x) for x in rooms], np.uintp)
        result_table = np.array([address(x) for x in results], np.uintp)
        if order is not None:
            order = np.ascontiguousarray(order, np.int64)
        period = len(data[0] if order is None else order) // batch
        arguments = RunArguments(
            0, 0, batch, period, None if order is None else address(order), len(data), len(results),
            address(rows), address(output_bytes), address(data_table), address(room_table),
            address(result_table),
        )  # fmt: skip
        self._run_in_pieces(arguments, steps)
        return results

    def _run_in_pieces(self, arguments: RunArguments, steps: int) -> None:
        """Run steps in foreign calls that are short, since no signal is heard in one."""
        count = 1
        while arguments.first < steps:
            arguments.steps = min(count, steps - arguments.first)
            seconds = self._turns.alone(self._run_piece, arguments)
            arguments.first += arguments.steps
            count = next_count(arguments.steps, seconds)

    def _run_piece(self, arguments: RunArguments) -> float:
        """One foreign call; -> its seconds"""
        self._hold_state()
        start = time.perf_counter()
        if failed := self._many(self._table, self._c_arena, ctypes.byref(arguments)):
            raise self._failure(failed)
        return time.perf_counter() - start

    def _failure(self, site: int) -> BaseException:
        if (error := self._host.take_error()) is not None:
            return error
        node = self.program.sites[site - 1]
        return node.op.error(f"{failure(node)}; this step updated nothing")


def _constant(op: Any) -> np.ndarray[Any, Any]:
    assert isinstance(op, Constant)
    return op.value.array
