"""A `while` of small steps as one kernel: its blocks make the test, look at it, and go on.

Launched step by step the host reads a bool before each step, for which the device has to be through
with all before. Here every block reads it behind a barrier, and none writes it before the next one:
so all leave the loop at the same step, and nobody has to know how many there are. The flag of a
failure may go up at any time; one thread notes it for all, beside the bool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from staticnet.codegen.commands import FAILED, Address, Command, Launch, Loop, While
from staticnet.codegen.cuda.call import Function
from staticnet.codegen.cuda.choice import COUNTS, LEAST_GAIN, STAGE_RATES, seconds_apart
from staticnet.codegen.cuda.loops import (
    HEADER,
    as_stage,
    obstacle_of_loop,
    seconds_of_step,
    stages_of,
)
from staticnet.codegen.cuda.part import THREADS
from staticnet.codegen.cuda.parts import Parts
from staticnet.codegen.cuda.persistent import ROOM, StageWriter, needs_room
from staticnet.codegen.cuda.statements import block, indent

Chosen = Sequence[tuple[Address, bool]]


@dataclass
class WhileWriter(StageWriter):
    """Writes the kernel of a `while`, of the stages of its test and of its body.

    It makes no step unless each bool of `chosen` has its value.
    """

    loop: While = field(kw_only=True)
    chosen: Chosen = field(kw_only=True)

    def write(
        self, test: Sequence[Sequence[Command]], body: Sequence[Sequence[Command]]
    ) -> tuple[str, Launch]:
        """The kernel's text, with NAME for its name, and its launch, with no name yet."""
        sides = [
            f"if ({'!' * side}*(const bool *)({self._pointer(taken, False)})) return;"
            for taken, side in self.chosen
        ]
        going, failed = self._pointer(self.loop.going, True), self._pointer(FAILED, False)
        steps = [
            f"sn_note_failure({going}, {failed});",
            *(self._all(test) or [self._barrier()]),
            f"if (!sn_goes_on({going})) break;",
            *(self._all(body) or [self._barrier()]),
        ]
        commands = [command for stage in (*test, *body) for command in stage]
        products = any(map(needs_room, commands))
        names = ["unsigned *barrier", *(f"char *{name}" for name in self.pointers.values())]
        lines = [
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1)',
            f"NAME({', '.join(names)}) {{",
            *indent([f"alignas(16) __shared__ char room[{ROOM}];"] if products else []),
            *indent([*sides, *block("for (;;)", steps)]),
            "}\n",
        ]
        return "\n".join(lines), self._launched(commands, self.loop.step)

    def _all(self, stages: Sequence[Sequence[Command]]) -> list[str]:
        """Stages, with a barrier behind each."""
        return [line for stage in stages for line in (*self._stage(stage), self._barrier())]


def one_while(
    loop: While, number: int, chosen: Chosen, headers: Sequence[str], parts: Parts
) -> Launch | None:
    """The launch of all steps of a `while`, where an estimate says that it pays; else None.

    headers: the files of kernels in which its routines are. What was decided is told to `parts`.
    """
    each = Loop(number, (*loop.test, *loop.body), 1, False, loop.step)
    if why := obstacle_of_loop(each, headers, parts):
        parts.told[f"a while is launched step by step: {why}"] = None
        return None
    test, body = (
        stages_of(Loop(number, commands, 1, False, loop.step), ())
        for commands in (loop.test, loop.body)
    )
    seconds, count = min((seconds_of_step([*test, *body], n), n) for n in COUNTS)
    apart = seconds_apart(each.commands) + STAGE_RATES.host
    estimate = f"{seconds * 1e6:.1f} µs a step by the estimate, {len(each.commands)} launches "
    estimate += f"and a look of the host {apart * 1e6:.1f} µs"
    if seconds > apart * (1 - LEAST_GAIN):
        parts.told[f"a while is launched step by step: one kernel {estimate}"] = None
        return None
    several = f"{count} blocks" if count > 1 else "one block"
    parts.told[f"a while is one kernel of {several}: {estimate}"] = None
    kernels: dict[str, Function] = {}
    own = [[as_stage(command, kernels, parts) for command in stage] for stage in (*test, *body)]
    writer = WhileWriter(kernels, count, loop=loop, chosen=chosen)
    text, launch = writer.write(own[: len(test)], own[len(test) :])
    parts.headers[HEADER] = None
    return replace(launch, function=parts.named(f"loop{number}", text))
