"""What a cubin's kernels take and do, read from its ELF sections: no GPU and no toolkit is needed.

Registers and frames are in `.nv.info` (attributes of symbols), shared memory is the size of
`.nv.shared.<kernel>`, and instructions of 16 bytes lie in `.text.<kernel>`: from compute capability
7.0 on their lowest 12 bits are the opcode, and a load's width is in bits 73 to 75. That is not
documented; `tests/test_cubin.py` holds it to kernels whose PTX says what they do.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_INFO_SVAL = 4  # of an attribute with bytes of its own
_FRAME_SIZE, _REGISTERS = 0x11, 0x2F
_OPCODES = {
    0x23C: "HMMA",
    0x381: "LDG",
    0x981: "LDG",
    0x386: "STG",
    0x986: "STG",
    0x983: "LDL",
    0x387: "STL",
    0x984: "LDS",
    0x388: "STS",
    0x988: "STS",
}
_WIDTHS = {4: 32, 5: 64, 6: 128}
_GLOBAL_OR_SHARED = ("LDG", "STG", "LDS", "STS")


@dataclass(frozen=True)
class Kernel:
    """Registers of a thread, bytes of its frame in local memory, shared bytes of a block.

    `does` counts instructions, loads and stores by width too: HMMA, LDG, LDG.128, …
    """

    registers: int
    frame: int
    shared: int
    does: Counter[str]


class _Section(NamedTuple):
    name: str
    data: bytes
    size: int


def kernels_of(cubin: bytes) -> dict[str, Kernel]:
    """The kernels of a cubin by name."""
    sections = {section.name: section for section in _sections(cubin)}
    symbols = _symbols(sections)
    attributes = dict(_attributes(sections[".nv.info"].data, symbols))
    found = {}
    for name, section in sections.items():
        if not name.startswith(".text."):
            continue
        kernel = name.removeprefix(".text.")
        shared = sections.get(f".nv.shared.{kernel}")
        found[kernel] = Kernel(
            attributes[kernel, _REGISTERS],
            attributes.get((kernel, _FRAME_SIZE), 0),
            shared.size if shared else 0,
            _instructions(section.data),
        )
    return found


def _sections(cubin: bytes) -> Iterator[_Section]:
    assert cubin[:5] == b"\x7fELF\x02"
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", cubin, 0x3A)
    heads = [struct.unpack_from("<IIQQQQIIQQ", cubin, table + i * size) for i in range(count)]
    names = cubin[heads[names_at][4] :]
    for name, kind, _, _, offset, length, *_ in heads:
        data = b"" if kind == 8 else cubin[offset : offset + length]  # 8: no bytes in the file
        yield _Section(_text(names, name), data, length)


def _symbols(sections: dict[str, _Section]) -> list[str]:
    table, names = sections[".symtab"].data, sections[".strtab"].data
    return [_text(names, at) for at, *_ in struct.iter_unpack("<IBBHQQ", table)]


def _text(names: bytes, at: int) -> str:
    return names[at : names.index(b"\0", at)].decode()


def _attributes(info: bytes, symbols: list[str]) -> Iterator[tuple[tuple[str, int], int]]:
    """Numbers of symbols by attribute."""
    at = 0
    while at < len(info):
        form, attribute, value = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == _INFO_SVAL:
            if value == 8:
                symbol, number = struct.unpack_from("<II", info, at)
                yield (symbols[symbol], attribute), number
            at += value


def _instructions(code: bytes) -> Counter[str]:
    found: Counter[str] = Counter()
    for low, high in struct.iter_unpack("<QQ", code):
        name = _OPCODES.get(low & 0xFFF)
        if name is None:
            continue
        found[name] += 1
        if name in _GLOBAL_OR_SHARED:
            found[f"{name}.{_WIDTHS.get(high >> 9 & 7, 16)}"] += 1
    return found
