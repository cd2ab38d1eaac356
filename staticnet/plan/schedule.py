"""The order of groups, and which of them run side by side as one step.

Of the orders that the dependences allow, one that needs little memory: by number, or always the
group next that leaves the fewest bytes alive, whichever has the lower peak. Kernels that nothing
needs soon then wait for others to run beside.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from staticnet.ir.node import Node
from staticnet.plan.dependence import Dependences
from staticnet.plan.fusion import Group


@dataclass(frozen=True, eq=False)
class Step:
    """One launch: kernels of which none waits for another, or one routine."""

    groups: tuple[Group, ...]

    @property
    def fused(self) -> bool:
        """Whether it runs kernels."""
        return self.groups[0].fused

    @property
    def nodes(self) -> list[Node]:
        """The nodes of all its groups."""
        return [node for group in self.groups for node in group.nodes]


@dataclass
class Values:
    """What the order of groups decides the lifetimes of.

    `size` is the bytes of each value that lies in the arena; `makes` and `reads` are by group;
    `late` values are needed after the last group. `over` says which of the values that a group
    reads it may write a value over, if nothing else needs them any more. Groups `on_demand` run as
    late as they can, right before one that needs them.
    """

    size: Mapping[Node, int] = field(default_factory=dict)
    makes: Mapping[Group, Sequence[Node]] = field(default_factory=dict)
    reads: Mapping[Group, Sequence[Node]] = field(default_factory=dict)
    late: frozenset[Node] = frozenset()
    over: Mapping[Node, Sequence[Node]] = field(default_factory=dict)
    scratch: Mapping[Group, int] = field(default_factory=dict)
    on_demand: frozenset[Group] = frozenset()


def schedule(groups: Sequence[Group], order: Dependences, values: Values) -> list[Step]:
    """Steps in an order that runs each group after those that it waits for."""
    found = [
        bundle(sequence, order, values)
        for sequence in (_by_number(groups, order, values), _by_bytes(groups, order, values))
    ]
    return gathered(min(found, key=lambda steps: (peak(steps, values), len(steps))), order, values)


def gathered(steps: Sequence[Step], order: Dependences, values: Values) -> list[Step]:
    """The steps, where kernels wait for the next step of kernels if no routine between needs them.

    No peak grows by it.
    """
    limit, left, done = peak(steps, values), list(steps), list[Step]()
    ledger = Ledger(values)
    for i, step in enumerate(left):
        j = _next_kernels(left, i, order)
        if j is not None:
            both = Step((*step.groups, *left[j].groups))
            if ledger.would_take([*left[i + 1 : j], both]) <= limit:
                left[j] = both
                continue
        ledger.run(step.groups)
        done.append(step)
    return done


def _next_kernels(steps: Sequence[Step], i: int, order: Dependences) -> int | None:
    """The next step of kernels, if this is one and nothing up to there waits for it."""
    own = _bits(steps[i].groups)
    for j in range(i + 1, len(steps)) if steps[i].fused else ():
        if any(order.waits_for(group.number) & own for group in steps[j].groups):
            return None
        if steps[j].fused:
            return j
    return None


def peak(steps: Iterable[Step], values: Values) -> int:
    """The bytes alive at the fullest step."""
    ledger = Ledger(values)
    return max((ledger.run(step.groups) for step in steps), default=0)


class Ledger:
    """The bytes alive, as groups run."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.alive = 0
        self.readers: dict[Node, list[Group]] = {}
        for group, nodes in values.reads.items():
            for node in nodes:
                self.readers.setdefault(node, []).append(group)
        self.left = {node: len(groups) for node, groups in self.readers.items()}

    def opens(self, group: Group) -> int:
        """The bytes that a group needs besides those alive: a value written over another, none."""
        values = self.values
        over = {value for value, _ in self.written_over(group)}
        made = sum(values.size[node] for node in values.makes.get(group, ()) if node not in over)
        return made + values.scratch.get(group, 0)

    def written_over(self, group: Group) -> Iterator[tuple[Node, Node]]:
        """The values that a group may write over others, which nothing else needs any more."""
        taken: set[Node] = set()
        for value in self.values.makes.get(group, ()):
            for other in self.values.over.get(value, ()):
                if self._dies(other) and other not in taken:
                    taken.add(other)
                    yield value, other
                    break

    def change(self, group: Group) -> int:
        """By how many bytes what is alive grows if a group runs."""
        values = self.values
        made = sum(self._stays(node) for node in values.makes.get(group, ()))
        return made - sum(values.size[n] for n in values.reads.get(group, ()) if self._dies(n))

    def run(self, groups: Iterable[Group]) -> int:
        """Run groups side by side; -> the bytes alive meanwhile."""
        groups = list(groups)
        most = self.alive + sum(self.opens(group) for group in groups)
        for group in groups:
            self.alive += self.change(group)
            for node in self.values.reads.get(group, ()):
                self.left[node] -= 1
        return most

    def would_take(self, steps: Iterable[Step]) -> int:
        """The bytes alive at the fullest of some steps, which are not run."""
        alive, left = self.alive, dict(self.left)
        most = max((self.run(step.groups) for step in steps), default=0)
        self.alive, self.left = alive, left
        return most

    def last_reader(self, group: Group, done: Callable[[Group], bool]) -> Iterator[Group]:
        """The groups that, now that `group` has run, alone still need a value that it read."""
        for node in self.values.reads.get(group, ()):
            if self._dies(node):
                yield from (reader for reader in self.readers[node] if not done(reader))

    def _dies(self, node: Node) -> bool:
        """Whether one group more is all that needs a value."""
        return self.left[node] == 1 and node not in self.values.late

    def _stays(self, node: Node) -> int:
        needed = self.left.get(node) or node in self.values.late
        return self.values.size[node] if needed else 0


def bundle(sequence: Sequence[Group], order: Dependences, values: Values) -> list[Step]:
    """Steps of kernels that follow each other and may run side by side, if no peak grows by it."""
    return _Bundler(sequence, order, values).steps


class _Bundler:
    """Groups one after the other, gathered into steps.

    A kernel that no other waits for and that needs no memory, as one that updates a variable, is
    put off until there is a step that it can ride along with, or its operands' memory is needed.
    """

    def __init__(self, sequence: Sequence[Group], order: Dependences, values: Values) -> None:
        self.order = order
        self.limit = peak((Step((group,)) for group in sequence), values)
        self.ledger = Ledger(values)
        self.alive = 0  # bytes, while what is gathered runs
        self.steps: list[Step] = []
        self.together: list[Group] = []
        self.put_off: list[Group] = []
        self.left = _bits(sequence)
        awaited = 0
        for group in sequence:
            awaited |= order.waits_for(group.number)
        for group in sequence:
            idle = group.fused and not awaited >> group.number & 1
            if idle and not self.ledger.opens(group):
                self.put_off.append(group)
            else:
                self._add(group)
        self._finish()
        self._make_room()

    def _add(self, group: Group) -> None:
        alongside = self.together and self.together[0].fused and group.fused
        if not (alongside and self._is_ready(group) and self._fits(group)):
            self._finish()
            if not self._fits(group):
                self._make_room()
        self.together.append(group)
        self.alive += self.ledger.opens(group)

    def _finish(self) -> None:
        """End the step, with those that were put off and can run beside it."""
        if self.together and self.together[0].fused:
            self._take(self._is_ready)
        if self.together:
            self.steps.append(Step(tuple(self.together)))
            self.ledger.run(self.together)
            self.left &= ~_bits(self.together)
        self.together = []
        self.alive = self.ledger.alive

    def _make_room(self) -> None:
        """Run what was put off."""
        self._take(self._is_ready)
        self._finish()

    def _take(self, which: Callable[[Group], bool]) -> None:
        self.together += filter(which, self.put_off)
        self.put_off = [group for group in self.put_off if not which(group)]

    def _is_ready(self, group: Group) -> bool:
        """Whether all that a group waits for ran in earlier steps."""
        return not self.order.waits_for(group.number) & self.left

    def _fits(self, group: Group) -> bool:
        return self.alive + self.ledger.opens(group) <= self.limit


def _by_number(groups: Sequence[Group], order: Dependences, values: Values) -> list[Group]:
    """Groups after what they wait for, and else by number."""
    return _List(groups, order, values, lambda group: 0, lambda group: ()).done


def _by_bytes(groups: Sequence[Group], order: Dependences, values: Values) -> list[Group]:
    """Groups after what they wait for; of those that can run, the one that frees most."""
    ledger = Ledger(values)
    done: set[Group] = set()

    def run(group: Group) -> Iterable[Group]:
        done.add(group)
        ledger.run([group])
        return ledger.last_reader(group, done.__contains__)

    return _List(groups, order, values, ledger.change, run).done


class _List:
    """List scheduling: of the groups that can run, always the one of the least key, then number.

    `run` notes that a group has run and gives those whose keys it lowered.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        order: Dependences,
        values: Values,
        key: Callable[[Group], int],
        run: Callable[[Group], Iterable[Group]],
    ) -> None:
        self.known = {group.number: group for group in groups}
        self.order = order
        self.key = key
        self.run = run
        self.left = _bits(groups)
        self.on_demand = _bits(values.on_demand)
        self.watchers: dict[int, list[int]] = {}  # by one of the groups that they wait for
        self.heap: list[tuple[int, int]] = []
        self.done: list[Group] = []
        for number in self.known:
            if not self.on_demand >> number & 1:
                self._offer(number)
        while self.heap:
            cost, number = heapq.heappop(self.heap)
            if not self.left >> number & 1:
                continue
            if cost != self._cost(number):  # it changed while it was in the heap
                heapq.heappush(self.heap, (self._cost(number), number))
                continue
            for each in (*self._demanded(number), number):
                self._run(each)
        for group in sorted(values.on_demand, key=self._rank):
            if self.left >> group.number & 1:
                self._run(group.number)

    def _offer(self, number: int) -> None:
        rest = self.order.waits_for(number) & self.left & ~self.on_demand
        if rest:
            self.watchers.setdefault(rest.bit_length() - 1, []).append(number)
        else:
            heapq.heappush(self.heap, (self._cost(number), number))

    def _run(self, number: int) -> None:
        group = self.known[number]
        self.left ^= 1 << number
        self.done.append(group)
        for lowered in self.run(group):
            waits = self.order.waits_for(lowered.number) & self.left & ~self.on_demand
            if not waits and not self.on_demand >> lowered.number & 1:
                heapq.heappush(self.heap, (self._cost(lowered.number), lowered.number))
        for waiting in self.watchers.pop(number, ()):
            self._offer(waiting)

    def _cost(self, number: int) -> int:
        return sum(self.key(self.known[each]) for each in (*self._demanded(number), number))

    def _demanded(self, number: int) -> list[int]:
        """The groups on demand that have to run before one, in an order that works."""
        bits = self.order.waits_for(number) & self.left & self.on_demand
        found = []
        while bits:
            found.append(bits.bit_length() - 1)
            bits ^= 1 << found[-1]
        return sorted(found, key=lambda each: self._rank(self.known[each]))

    def _rank(self, group: Group) -> tuple[int, int]:
        """What waits for another waits for more."""
        return self.order.waits_for(group.number).bit_count(), group.number


def _bits(groups: Iterable[Group]) -> int:
    return sum(1 << group.number for group in groups)
