"""What the plans of a program share: functions, the nodes that may fail, what is included."""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass, field

from staticnet.codegen.cuda.call import Function
from staticnet.ir.node import Node
from staticnet.plan.fusion import Group

MAX_ARGUMENT_BYTES = 32_000  # of a launch; CUDA 12.1 and later take 32,764


RESERVED = 1024  # bytes of a block's shared memory that the hardware takes


@dataclass(frozen=True)
class Chip:
    """What a GPU offers a kernel whose blocks stay: one on each multiprocessor, and shared memory.

    shared_bytes: that a block may ask for; without a GPU those of compute capability 8.0, of which
    9.0 has more
    """

    multiprocessors: int = 132
    shared_bytes: int = 163 << 10


ANY_CHIP = Chip()


@dataclass
class Parts:
    """What the plans of a program share.

    `functions` are names by texts, `kernels` those that are launched, by name; `taken` is how many
    have begun with a name, `called` a kernel's or routine's functions. `sites` are the nodes that
    may fail, `loops` counts loops; `headers` are the files of kernels that the routines are in,
    beside those of every program; `tf32` says that matrix units may take float32 operands so.
    `calls` names the ops that cuDNN may compute. Loops may be kernels where `loops_stay`; what was
    decided of them, and why, is `told`. `chip` is the GPU that they are for.
    """

    functions: dict[str, str] = field(default_factory=dict)
    kernels: dict[str, Function] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)
    called: dict[Group, dict[str, None]] = field(default_factory=dict)
    sites: list[Node] = field(default_factory=list)
    loops: int = 0
    headers: dict[str, None] = field(default_factory=dict)
    tf32: bool = False
    calls: frozenset[str] = frozenset()
    loops_stay: bool = False
    told: dict[str, None] = field(default_factory=dict)
    chip: Chip = ANY_CHIP

    def copy(self) -> Parts:
        """What there is by now, for `restore`."""
        kept = {name: copy(value) for name, value in vars(self).items()}
        return Parts(**kept)

    def restore(self, kept: Parts) -> None:
        """Forget what came after a copy was made."""
        vars(self).update(vars(kept))

    def named(self, name: str, text: str) -> str:
        """The name of a text's function: this one or, where others have it, with a number more."""
        if text not in self.functions:
            others = self.taken[name]
            self.taken[name] += 1
            self.functions[text] = f"{name}_{others}" if others else name
        return self.functions[text]
