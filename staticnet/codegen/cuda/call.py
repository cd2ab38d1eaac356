"""A CUDA function with the arguments of one call of it, before it has a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from staticnet.codegen.commands import Address, Argument
from staticnet.codegen.cuda.part import Points
from staticnet.codegen.cuda.statements import indent
from staticnet.ir.node import Node

Locate = Callable[[Node], Address]


@dataclass(frozen=True)
class Call:
    """A function by its declared parameters and body, its launch, and what it is given.

    In the body, `block` of `blocks` blocks works; `error` and `site` tell a failure. `together` is
    how many blocks a multiprocessor has at once, 0 for what the compiler expects: it gives threads
    no more registers than that many blocks leave, and rather spills. `points` are those of a map,
    see `Part`; it may be no more than a cast.
    """

    parameters: tuple[str, ...]
    body: tuple[str, ...]
    arguments: tuple[Argument, ...]
    blocks: int
    threads: int
    may_fail: bool = False
    scratch_bytes: int = 0
    together: int = 0
    points: Points | None = None
    casts: bool = False


@dataclass(frozen=True)
class Function:
    """A launched function before it has a name: NAME stands for it in the texts.

    Its body may ask for `block` and `blocks`; then it computes the same whatever blocks there are,
    as long as it is called once for each `block` below `blocks`. `guards` are statements before it
    that may return; for `together`, `points` and `casts` see `Call`.
    """

    parameters: tuple[str, ...]
    guards: tuple[str, ...]
    body: tuple[str, ...]
    threads: int
    together: int = 0
    points: Points | None = None
    casts: bool = False

    @property
    def by_block(self) -> bool:
        """Whether its body asks for the number of its block; else it asks the hardware."""
        return bool(re.search(r"\bblocks?\b", "\n".join(self.body)))

    def kernel(self) -> str:
        """Its text as a kernel."""
        text = "\n".join(self.body)
        lines = ["const int block = blockIdx.x;"] if "block" in text else []
        lines += ["const int blocks = gridDim.x;"] if "blocks" in text else []
        bounds = f"{self.threads}, {self.together}" if self.together else str(self.threads)
        head = f'extern "C" __global__ void __launch_bounds__({bounds})\n'
        return head + function(self.parameters, [*self.guards, *lines, *self.body])

    def stage(self) -> str:
        """Its text as a part of a kernel, in which others write what it reads: none is alone."""
        numbers = ["int block", "int blocks"] if self.by_block else []
        given = [parameter.replace("__restrict__ ", "") for parameter in self.parameters]
        return "static __device__ __noinline__ void " + function(
            [*numbers, *given], [*self.guards, *self.body]
        )


def function(parameters: Iterable[str], body: Iterable[str]) -> str:
    """A function's text, with NAME for its name."""
    return "\n".join([f"NAME({', '.join(parameters)}) {{", *indent(body), "}\n"])


def device_function(call: Call) -> str:
    """The text of a call's function for calls from kernels."""
    failing = ["int *error", "int site"] if call.may_fail else []
    parameters = ["int block", "int blocks", *call.parameters, *failing]
    return "static __device__ void " + function(parameters, call.body)
