"""A kernel's statements as CUDA: for one element, or for a pack of elements side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from staticnet.codegen.c_statements import initial
from staticnet.codegen.kernel import At, Keep, Let, Load, Reduce, Statement, Store
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import HALVES, DType, compute_dtype, short_name
from staticnet.ir.index import Index, Symbol

REGISTER = 4  # bytes
PACK_BYTES = 16  # of the widest access to memory, which lies at a multiple of that
_NAME = re.compile(r"[A-Za-z_]\w*")
_OPERAND = r"-?\w+|\([^()]*\)"
_BINARY = re.compile(rf"({_OPERAND}) ([+*-]) ({_OPERAND})")
_NEGATIVE = re.compile(r"-(\w+)")


def indent(lines: Iterable[str]) -> list[str]:
    """Lines of a block's body."""
    return [f"  {line}" for line in lines]


def block(head: str, body: Iterable[str]) -> list[str]:
    """A head, and a body in braces."""
    return [f"{head} {{", *indent(body), "}"]


def reduces(body: Sequence[Statement]) -> tuple[Reduce, ...]:
    """The reductions of a loop's body."""
    return tuple(s for s in body if isinstance(s, Reduce))


def starts(found: Iterable[Reduce]) -> list[str]:
    """Accumulators, as reductions start."""
    return [f"{c_type(r.dtype)} {r.name} = {initial(r.combine, r.dtype)};" for r in found]


def combination(r: Reduce) -> str:
    """The device code's type that combines two values of a reduction."""
    return f"sn_{r.combine}<{c_type(r.dtype)}>"


def combined(r: Reduce, text: str) -> str:
    """A statement that combines a value into the accumulator."""
    return f"{r.name} = {combination(r)}::of({r.name}, {text});"


@dataclass
class Held:
    """Loads whose elements a thread holds for a later loop: arrays by buffer and place.

    `number` is the pack's number among those of the thread. Elements of less than a register that
    are no packs are several to a register: they are put there and taken by `sn_held`.
    """

    arrays: dict[tuple[str, Index], str] = field(default_factory=dict)
    number: str = "j"
    filled: set[str] = field(default_factory=set)

    def slot(self, s: Load) -> str:
        """Where a load's pack is held, or nothing."""
        name = self.arrays.get((s.buffer, s.at))
        return f"{name}[{self.number}]" if name else ""

    def fill(self, slot: str, element: str, shared: bool = False) -> list[str]:
        """The statement that reads it, the first time; `shared`: into a part of a register."""
        if slot in self.filled:
            return []
        self.filled.add(slot)
        if shared:
            return [f"{slot.partition('[')[0]}.put({self.number}, {element});"]
        return [f"{slot} = {element};"]


NOTHING_HELD = Held()


@dataclass(frozen=True)
class Writer:
    """Writes statements. `index` is C's type of indices.

    `empty` are buffers without elements; those that are `single` lie at no multiple of a pack's
    bytes, and are read and written element by element.
    """

    index: str
    empty: frozenset[str] = frozenset()
    single: frozenset[str] = frozenset()

    def is_pack(self, s: Statement, last: Symbol, width: int, varying: Iterable[str] = ()) -> bool:
        """Whether a load or store takes `width` elements at once: see `packable`."""
        buffer = getattr(s, "buffer", "")
        return packable(s, last, width, varying) and buffer not in self.empty | self.single

    @property
    def wide(self) -> str:
        """A cast that keeps products of block and thread numbers from overflowing."""
        return "" if self.index == "int" else f"({self.index})"

    def positions(self, symbols: Sequence[Symbol], flat: str, width: int = 1) -> list[str]:
        """The loop variables of a flattened space, the last one's for a pack of `width`."""
        lines, size = [], 1
        for symbol in reversed(symbols):
            place = f"{flat} / {size}" if size > 1 else flat
            inner = f"({place})" if size > 1 else flat
            text = place if symbol is symbols[0] else f"{inner} % {symbol.extent}"
            name = f"{symbol.text}_0" if width > 1 and symbol is symbols[-1] else symbol.text
            lines.append(f"const {self.index} {name} = {text};")
            size *= max(symbol.extent, 1)
        return lines[::-1]

    def lines(
        self, statements: Iterable[Statement], keep: str = "", held: Held = NOTHING_HELD
    ) -> list[str]:
        """Statements for one element; `keep` is its number among those that its thread keeps."""
        lines = []
        for s in statements:
            slot = held.slot(s) if isinstance(s, Load) else ""
            if isinstance(s, Load) and slot:
                lines += held.fill(slot, f"{s.buffer}[{s.at}]", s.dtype.itemsize < REGISTER)
                lines.append(self._loaded(s.name, s.dtype, slot))
            else:
                lines.append(self.line(s, keep))
        return lines

    def line(self, s: Statement, keep: str = "") -> str:
        """One statement."""
        match s:
            case Let(name, dtype, text):
                return f"const {c_type(dtype)} {name} = {_wrapped(dtype, text)};"
            case Load(name, buffer, at, dtype):
                return self._loaded(name, dtype, "" if buffer in self.empty else f"{buffer}[{at}]")
            case At(name, text):
                return f"const {self.index} {name} = ({self.index}){text};"
            case Keep(name, _, _, text):
                return f"{name}[{keep}] = {text};"
            case Store(buffer, at, dtype, text):
                return f"{buffer}[{at}] = {_bits(dtype, text)};"
            case Reduce():
                return combined(s, s.text)

    def _loaded(self, name: str, dtype: DType, element: str) -> str:
        if not element:
            value = "0"
        elif dtype in HALVES:
            value = f"sn_load_{short_name(dtype)}({element})"
        else:
            value = element
        return f"const {c_type(compute_dtype(dtype))} {name} = {value};"

    def pack(
        self, body: Sequence[Statement], last: Symbol, width: int, keep: str = "",
        held: Held = NOTHING_HELD,
    ) -> list[str]:  # fmt: skip
        """Statements for `width` elements along `last`, of more than one the first at `<last>_0`.

        What is the same for all comes first, then the packs that are read, then the elements one by
        one, then the packs that are written.
        """
        if width == 1:
            return self.lines(body, keep, held)
        varying, wide = {last.text, "l"}, set[str]()
        before, after = list[str](), list[str]()
        each = [f"const {self.index} {last.text} = {last.text}_0 + l;"]
        for s in body:
            packed = self.is_pack(s, last, width, varying)
            if isinstance(s, Load) and packed:
                read = f"sn_read<{width}>({self._first(s, last)})"
                slot = held.slot(s)
                if slot:
                    before += held.fill(slot, read)
                else:
                    slot = f"{s.name}_w"
                    before.append(f"const auto {slot} = {read};")
                each.append(self._loaded(s.name, s.dtype, f"{slot}.v[l]"))
                varying.add(s.name)
            elif isinstance(s, Store) and packed:
                name = f"{s.buffer}_w{len(wide)}"
                wide.add(name)
                before.append(f"sn_pack<{c_type(s.dtype)}, {width}> {name};")
                each.append(f"{name}.v[l] = {_bits(s.dtype, s.text)};")
                after.append(f"sn_write<{width}>({self._first(s, last)}, {name});")
            elif isinstance(s, Let | Load | At) and not (names(s) & varying):
                before.append(self.line(s))
            else:
                each.append(self.line(s, keep))
                if isinstance(s, Let | Load | At):
                    varying.add(s.name)
        loop = block(f"for (int l = 0; l < {width}; ++l)", each)
        return [*before, "#pragma unroll", *loop, *after]

    def _first(self, s: Load | Store, last: Symbol) -> str:
        """The address of a pack."""
        first = Symbol(f"{last.text}_0", last.extent)
        terms = tuple((first if symbol == last else symbol, c) for symbol, c in s.at.terms)
        return f"{s.buffer} + {Index(terms, s.at.constant)}"


def names(s: Statement) -> set[str]:
    """The names that a statement's value or place is made of."""
    if isinstance(s, Load):
        return set(_NAME.findall(str(s.at)))
    texts = [s.text, str(s.at)] if isinstance(s, Store | Keep) else [s.text]
    return {name for text in texts for name in _NAME.findall(text)}


def packable(s: Statement, last: Symbol, width: int, varying: Iterable[str] = ()) -> bool:
    """Whether a load or store takes `width` neighbours at an aligned place.

    `varying` are names that differ among the elements; without them, only `last` is known to.
    """
    if not isinstance(s, Load | Store):
        return False
    others = [(symbol, c) for symbol, c in s.at.terms if symbol != last]
    used = {name for symbol, _ in others for name in _NAME.findall(symbol.text)}
    return (
        dict(s.at.terms).get(last) == 1
        and all(c % width == 0 for _, c in others)
        and s.at.constant % width == 0
        and not used & {last.text, *varying}
    )


def pack_width(body: Sequence[Statement], last: Symbol, length: int) -> int:
    """How many elements along `last` a thread takes at a time; `length` must be a multiple."""
    for width in (8, 4, 2):
        wide = [s for s in body if packable(s, last, width)]
        sizes = [s.dtype.itemsize for s in wide if isinstance(s, Load | Store)]
        if sizes and length % width == 0 and max(sizes) * width <= PACK_BYTES:
            return width
    return 1


def _bits(dtype: DType, text: str) -> str:
    return f"sn_store_{short_name(dtype)}({text})" if dtype in HALVES else text


def _wrapped(dtype: DType, text: str) -> str:
    """Signed integers wrap, and C++ leaves that open: they are added as unsigned ones."""
    if dtype.kind != "i" or dtype.itemsize < 4:
        return text
    signed, unsigned = c_type(dtype), f"u{c_type(dtype)}"
    if found := _BINARY.fullmatch(text):
        left, sign, right = found.groups()
        return f"({signed})(({unsigned}){left} {sign} ({unsigned}){right})"
    if found := _NEGATIVE.fullmatch(text):
        return f"({signed})(0u - ({unsigned}){found[1]})"
    return text
