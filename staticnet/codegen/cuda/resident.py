"""Products in a loop whose right matrix stays on the chip, in the shared memory of its blocks.

Each block has some of the matrix' columns for all steps: the matrix units find them there as
fragments, and of each step only the left matrix is read. A cast of that matrix to 16 bits is made
on the way. Elementwise work on the result follows in the same block, without a barrier of the grid,
where it takes of a row no more than the block's columns: an LSTM's gates lie side by side in four
groups, of which a block has the same units. See docs/adr/0060-weights-stay-in-shared-memory.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from staticnet.codegen.commands import Address, Command, Copy, Launch, Loop, Number, Product
from staticnet.codegen.cuda.call import Function, function
from staticnet.codegen.cuda.choice import MOST_ELEMENTS, STAGE_RATES, StageRates
from staticnet.codegen.cuda.part import THREADS, Points, ceil_div
from staticnet.codegen.cuda.parts import RESERVED, Parts
from staticnet.codegen.cuda.reach import overlap, reach
from staticnet.codegen.cuda.statements import block
from staticnet.codegen.cuda.streams import RATES, Rates
from staticnet.codegen.cuda.unrolled import addresses, written
from staticnet.ir.dtype import HALVES
from staticnet.ops.auxiliary import AUXILIARY

HEADERS = ("mma.cuh", "persistent.cuh", "resident.cuh")
TALL = 16  # rows of a tile: SN_TALL of the device code
STEPS = 32  # of terms that a block brings at once: SN_STEPS
FRAGMENT_BYTES = 256  # of a step's terms and eight columns
LEFT_BYTES = 4 * STEPS * (4 * 32 + 4)  # SN_LEFT_BYTES
TURNS = (1, 2, 4, 8)  # in which a block may take its rows
ACROSS = (8, 16, 32, 64, 128)  # columns that a tile may have
SHARE = 0.5  # of the matrix units' rate that a block alone reaches


@dataclass(frozen=True)
class Resident:
    """A product whose right matrix stays, in tiles of 16 rows and `across` columns.

    A block has `turns` of them below each other. The columns are `groups` side by side, of which a
    tile has `each` of the same. The left matrix is read in float32 from `source`, if there is one,
    and rounded. `then` is the elementwise work on the result; `room` is where the block's columns
    lie, in bytes of its own shared memory.
    """

    product: Product
    across: int
    groups: int
    each: int
    turns: int = 1
    source: Address | None = None
    then: Launch | None = None
    room: int = 0

    @property
    def tiles(self) -> int:
        """How many blocks it keeps busy."""
        down = ceil_div(self.product.m, TALL * self.turns)
        return down * ceil_div(self.product.n // self.groups, self.each)

    @property
    def nbytes(self) -> int:
        """Shared memory of a block's columns."""
        return ceil_div(self.product.k, self.depth) * self.across // 8 * FRAGMENT_BYTES

    @property
    def depth(self) -> int:
        """Terms of a step of the matrix units."""
        return 32 // self.product.dtype.itemsize

    def seconds(self, rates: Rates = RATES, each: StageRates = STAGE_RATES) -> float:
        """The estimate of a block's tiles."""
        p = self.product
        rate = SHARE * rates.narrow_products / rates.multiprocessors * 2 / p.dtype.itemsize
        work = 2.0 * TALL * self.across * p.k / rate
        itemsize = 4 if self.source else p.dtype.itemsize
        work += TALL * p.k * itemsize * rates.multiprocessors / each.cache
        stretches = ceil_div(p.k, STEPS * self.depth)
        tile = each.turn * (2 if self.then else 1) + each.stretch * stretches + work
        return self.turns * tile


Stage = Sequence[Command | Resident]


def residents_of(stages: Sequence[Stage]) -> list[Resident]:
    """Those in stages, in order."""
    return [each for stage in stages for each in stage if isinstance(each, Resident)]


def with_residents(
    loop: Loop, stages: Sequence[Sequence[Command]], carries: Sequence[Address],
    carried: Mapping[int, Copy], parts: Parts, taken: int, rounds: bool,
) -> list[Stage]:  # fmt: skip
    """The stages of a loop's step, with what can stay on the chip of a block that has room for it.

    taken: bytes of shared memory that else a block takes
    rounds: whether casts of left matrices are made on the way
    """
    found: list[Stage] = []
    room, skipped = LEFT_BYTES, 0
    finder = _Finder(loop, carries, carried.values(), parts, rounds)
    for number, stage in enumerate(stages):
        if skipped:
            skipped -= 1
            continue
        left = parts.chip.shared_bytes - RESERVED - taken - room
        alone = [stage[0] if len(stage) == 1 else None for stage in stages[number:]]
        made = finder.resident(found, alone, left)
        if made is None:
            found.append(stage)
            continue
        if made.source is not None:
            found.pop()
        skipped = int(made.then is not None)
        found.append([replace(made, room=room)])
        room += made.nbytes
    return found


@dataclass(frozen=True)
class _Finder:
    loop: Loop
    carries: Sequence[Address]
    carried: Collection[Copy]
    parts: Parts
    rounds: bool

    def resident(
        self, before: Sequence[Stage], rest: Sequence[Command | None], most: int
    ) -> Resident | None:
        """What the first command of `rest` becomes, within so many bytes."""
        p = rest[0]
        if not isinstance(p, Product) or not self._stays(p):
            return None
        source = self._source(before, p) if self.rounds else None
        then = rest[1] if len(rest) > 1 else None
        if isinstance(then, Launch) and (points := self.parts.kernels[then.function].points):
            groups = self._groups(p, then, points, source)
            if groups and (made := self._tiled(p, groups, points.width, most, source)):
                return replace(made, then=then)
        return self._tiled(p, 1, 1, most, source)

    def _tiled(
        self, p: Product, groups: int, width: int, most: int, source: Address | None
    ) -> Resident | None:
        """The product in tiles that have a block each; the fastest, by the estimate."""
        tried = [
            Resident(p, across, groups, across // groups // width * width, turns, source)
            for across in ACROSS
            for turns in TURNS
            if across // groups >= width
        ]
        fit = [r for r in tried if r.tiles <= self.parts.chip.multiprocessors and r.nbytes <= most]
        return min(fit, key=lambda r: (r.seconds(), r.across), default=None)

    def _stays(self, p: Product) -> bool:
        """Whether matrix units take it, and its right matrix is the same in all steps."""
        units = p.dtype in HALVES or (self.parts.tf32 and p.dtype.name == "float32")
        if not units or p.batch or p.left.transposed or p.epilogue in AUXILIARY:
            return False
        if p.m * max(p.n, p.left.leading, p.result.leading) > MOST_ELEMENTS:
            return False
        y = p.right.address
        if p.k * p.n > MOST_ELEMENTS or any(n == self.loop.number for n, _ in y.advance):
            return False
        places = [*self.carries, *(x for c in self.loop.commands for x in written(c))]
        return not any((x.kind, x.at) == (y.kind, y.at) for x in places)

    def _source(self, before: Sequence[Stage], p: Product) -> Address | None:
        """Where the left matrix lies in float32, if the command before rounds it for this alone.

        The plan has no more of it than the cast's time: the product's result may lie there.
        """
        cast = before[-1][0] if before and len(before[-1]) == 1 else None
        if not isinstance(cast, Launch) or not self._rounds(cast, p.m * p.k):
            return None
        x = p.left.address
        source, target = (a for a in cast.arguments if isinstance(a, Address))
        if target != x or x.advance or p.left.leading != p.k or p.dtype not in HALVES:
            return None
        others = [
            a for c in self.loop.commands if c is not cast and c is not p for a in addresses(c)
        ]
        used = any((a.kind, a.at) == (x.kind, x.at) for a in (*others, *self.carries))
        places = ((source, 4 * p.m * p.k), (p.result.address, p.m * p.n * p.dtype.itemsize))
        over = overlap(*(reach(self.loop, address, nbytes) for address, nbytes in places))
        return None if used or over else source

    def _rounds(self, launch: Launch, count: int) -> bool:
        """Whether all that it does is to cast so many elements of float32 that lie in a line."""
        made = self.parts.kernels[launch.function]
        if not made.casts or made.points is None or launch.arguments[-1] != Number(count):
            return False
        line = [((made.points.symbols[-1], 1),)]
        reads = [tuple((s.text, c) for s, c in at.terms) for _, at in made.points.reads]
        first = not any(at.constant for _, at in made.points.reads)
        return reads == line and first and made.parameters[0].startswith("const float *")

    def _groups(self, p: Product, then: Launch, points: Points, source: Address | None) -> int:
        """In how many groups a map's columns are the result's; 0 if it is none of tiles alone."""
        units = points.sizes[-1] if len(points.sizes) == 2 else p.n
        flat = (p.m * p.n,) if len(points.sizes) == 1 else (p.m, units)
        counts = [a for a in then.arguments if isinstance(a, Number)]
        if len(points.sizes) == 1 and Number(p.m * p.n) not in counts:
            return 0  # the function is one of another length, too
        if points.sizes != flat or p.n % units or units % points.width or p.result.leading != p.n:
            return 0
        z = p.result.address
        numbers = {i for i, a in enumerate(then.arguments) if _same(a, z)}
        reads = [at for i, at in points.reads if i in numbers]
        if not reads or any(then.arguments[i] != z for i in numbers):
            return 0
        for at in reads:
            steps = {symbol.text: c for symbol, c in at.terms}
            wanted = dict(zip(points.symbols, (p.n, 1)[-len(points.sizes) :], strict=True))
            wanted = {s: c for (s, c), n in zip(wanted.items(), flat, strict=True) if n > 1}
            if steps != wanted or at.constant % units or at.constant >= p.n:
                return 0
        return 0 if self._hurts(p, then, points, source) else p.n // units

    def _hurts(self, p: Product, then: Launch, points: Points, source: Address | None) -> bool:
        """Whether a map writes what the product reads or writes in another block."""
        size = p.dtype.itemsize
        x = source or p.left.address
        nbytes = p.m * p.left.leading * (4 if source else size)
        taken = [(p.result.address, p.m * p.n * size)]
        if p.bias:
            taken.append((p.bias, p.bias_bytes))
        rows = [c for c in self.carried if (c.target.kind, c.target.at) == (x.kind, x.at)]
        taken += [(x, nbytes)]
        for number, extent in points.extents:
            place = then.arguments[number]
            assert isinstance(place, Address)
            if any(c.source == place and extent <= c.nbytes for c in rows):
                continue  # it reads the row of the step before
            for other, n in (*taken, *((c.source, c.nbytes) for c in rows)):
                if overlap(reach(self.loop, place, extent), reach(self.loop, other, n)):
                    return True
        return False


def _same(a: object, b: Address) -> bool:
    return isinstance(a, Address) and (a.kind, a.at) == (b.kind, b.at)


def write_tile(made: Function, then: Launch, r: Resident) -> str:
    """The text of a map for the points of a tile, with NAME for its name.

    It is called by all threads of a block, with the tile's first row and its first unit.
    """
    points = made.points
    assert points is not None
    units, packs = r.product.n // r.groups, r.each // points.width
    inside = [f"const int {points.variable} = down * {units} + along;", *points.lines]
    body = block(f"for (int point = threadIdx.x; point < {TALL * packs}; point += {THREADS})", [
        f"const int down = row + point / {packs}, along = unit + point % {packs} * {points.width};",
        *block(f"if (down < {r.product.m} && along < {units})", inside),
    ])  # fmt: skip
    given = [parameter.replace("__restrict__ ", "") for parameter in made.parameters]
    return "static __device__ __noinline__ void " + function(
        ["int row", "int unit", *given], [*made.guards, *body]
    )
