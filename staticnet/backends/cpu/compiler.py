"""A C compiler found on this machine, and what it can do.

The first that works of `$CC`, `cc`, `gcc`, `clang` on PATH, and the `ziglang` wheel's. Never
`-ffast-math` nor `-ffinite-math-only`: NaN and Inf must travel.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import importlib.util
import itertools
import json
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from staticnet import flags
from staticnet.backends import cache
from staticnet.backends.cpu.together import together
from staticnet.errors import CompileError

COMMON = (
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",  # what is contracted would depend on what stands around it
    "-fwrapv",  # integers wrap, as NumPy's do
    "-std=c11",
    "-fPIC",
    "-shared",
)
# the first that works of each group; without the OpenMP runtime, `omp simd` is still obeyed
_WIDE = "-mprefer-vector-width=512"  # where there are such vectors: products use them already
# gcc 12 would gather a column of several rows at a time, and carry from a pass over a row to the
# next point what it computes again: neither is a loop of vectors then
_VECTORS = ("-fno-loop-unroll-and-jam", "-fno-tree-pre")
TUNING = (
    ("-march=native", _WIDE, *_VECTORS),
    ("-mcpu=native", *_VECTORS),
    ("-march=native",),
    ("-mcpu=native",),
    (),
)
THREADING = (("-fopenmp",), ("-fopenmp-simd",), ())
# loops that are unrolled and kept in vectors by hand are as fast, and compiled sooner; -O1 puts no
# instructions in order: Winograd's gradients of weights took 1.5 times as long
_BY_HAND = ("-O2", "-ftree-vectorize")
LIBRARIES = ("-lm",)
ERROR_LINES = 8

_PLAIN = "int staticnet_probe(void) { return 1; }\n"
_OPENMP = "#include <omp.h>\nint staticnet_probe(void) { return omp_get_max_threads(); }\n"


@dataclass(frozen=True)
class Compiler:
    """A command that builds shared libraries from C, with all flags but the file names.

    `runner` is a command that runs it, if not this process itself.
    """

    command: tuple[str, ...]
    version: str
    flags: tuple[str, ...]
    openmp: bool
    runner: tuple[str, ...] = ()

    def identity(self) -> str:
        """All that decides the code made from a source: command, version, flags and CPU."""
        return "\n".join((shlex.join(self.command), self.version, shlex.join(self.flags), cpu()))

    def serial(self) -> Compiler:
        """The same, of code that runs on the calling thread alone."""
        serial = ("-fopenmp-simd" if flag == "-fopenmp" else flag for flag in self.flags)
        return dataclasses.replace(self, flags=tuple(serial), openmp=False)

    def by_hand(self) -> Compiler:
        """The same, of code whose loops are written as the machine is to run them."""
        if "clang" in self.version:  # which would keep arrays of vectors in memory
            return self
        levels = (_BY_HAND if flag == "-O3" else (flag,) for flag in self.flags)
        return dataclasses.replace(self, flags=tuple(itertools.chain(*levels)))

    def idle(self) -> Compiler:
        """The same, run when nobody else needs the core."""
        nice = shutil.which("nice", path=flags.read().path)
        return dataclasses.replace(self, runner=(nice, "-n", "19") if nice else ())

    def compile(self, source: str, output: Path, pieces: Sequence[str] = ()) -> None:
        """Build a shared library; the source is kept beside it, as `.c`.

        If it is given in pieces, too, these are compiled at the same time.

        Raises:
            CompileError: with the compiler's first errors, the command and where the source is.
            OSError: if the source cannot be written.
        """
        file = output.with_suffix(".c")
        file.write_text(source, encoding="utf-8")
        if pieces:
            self._compile_pieces(pieces, file, output)
            return
        command = (*self.command, *self.flags, str(file), "-o", str(output), *LIBRARIES)
        _run((*self.runner, *command), file)

    def _compile_pieces(self, pieces: Sequence[str], file: Path, output: Path) -> None:
        def compiled(numbered: tuple[int, str]) -> str:
            number, text = numbered
            piece = file.with_suffix(f".{number}.c")
            piece.write_text(text, encoding="utf-8")
            made = str(piece.with_suffix(".o"))
            _run((*self.runner, *self.command, *self.flags, "-c", str(piece), "-o", made), piece)
            return made

        made = together(compiled, list(enumerate(pieces)))
        command = (*self.command, *self.flags, *made, "-o", str(output), *LIBRARIES)
        _run((*self.runner, *command), file)


def find_compiler() -> Compiler | None:
    """The C compiler of this environment, or None if there is none that works.

    Raises:
        CompileError: if `$CC` is set and does not work.
    """
    settings = flags.read()
    return _find(settings.cc, settings.path, settings.cache)


@functools.cache
def cpu() -> str:
    """The CPU's model and features, for which code tuned to this machine is made."""
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part", "isa", "cpu")
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if line.split("\t")[0].strip() in wanted]
        if lines:
            return "\n".join((platform.machine(), *dict.fromkeys(lines)))
    return f"{platform.machine()} {platform.processor()}"


@functools.cache
def _find(cc: tuple[str, ...], path: str, _folder: Path | None) -> Compiler | None:
    """The compiler of an environment; `_folder` says where the probes' answers are kept."""
    if cc:
        try:
            return _probe(_on_path(cc, path))
        except CompileError as error:
            message = f"CC={shlex.join(cc)!r} does not work: {error}; correct CC or unset it"
            raise CompileError(message) from error
    for name in ("cc", "gcc", "clang"):
        with contextlib.suppress(CompileError):
            return _probe(_on_path((name,), path))
    if zig := _zig():
        with contextlib.suppress(CompileError):
            return _probe((zig, "cc"))
    return None


def _on_path(command: tuple[str, ...], path: str) -> tuple[str, ...]:
    found = shutil.which(command[0], path=path)
    if found is None:
        raise CompileError(f"there is no command {command[0]!r}")
    return os.path.abspath(found), *command[1:]


def _zig() -> str | None:
    """The compiler in the `ziglang` wheel: the program itself starts sooner than `-m ziglang`."""
    spec = importlib.util.find_spec("ziglang")
    for folder in (spec and spec.submodule_search_locations) or ():
        if found := shutil.which("zig", path=folder):
            return found
    return None


def _probe(command: tuple[str, ...]) -> Compiler:
    """What a command can do, tried once per machine and then read from the cache.

    Raises:
        CompileError: if it builds no library.
    """
    lines = _run((*command, "--version")).splitlines()
    version = lines[0].strip() if lines else ""
    program = Path(command[0]).resolve().stat()
    facts = (*command, version, str(program.st_size), str(program.st_mtime_ns), cpu())
    choices = repr((COMMON, TUNING, THREADING, LIBRARIES, _PLAIN, _OPENMP))
    key = cache.digest("probe", choices, *facts)

    def make(file: Path) -> None:
        chosen, openmp = _try_flags(command, version, file.with_name("probe.so"))
        file.write_text(json.dumps({"flags": chosen, "openmp": openmp}), encoding="utf-8")

    answer = json.loads(cache.content(key, ".json", make)[0])
    return Compiler(command, version, tuple(answer["flags"]), answer["openmp"])


def _try_flags(
    command: tuple[str, ...], version: str, output: Path
) -> tuple[tuple[str, ...], bool]:
    """The flags that work, and whether OpenMP is among them.

    Raises:
        CompileError: if a plain library cannot be built or loaded.
    """
    best = (*COMMON, *TUNING[0], *THREADING[0])
    if _works(Compiler(command, version, best, openmp=True), _OPENMP, output):
        return best, True  # all at once, as nearly everywhere
    plain = Compiler(command, version, COMMON, openmp=False)
    for tuning in TUNING:
        tuned = Compiler(command, version, (*COMMON, *tuning), openmp=False)
        if _works(tuned, _PLAIN, output):
            break
    else:
        plain.compile(_PLAIN, output)
        raise CompileError(f"{shlex.join(command)} builds libraries that cannot be loaded")
    for threading in THREADING:
        source = _OPENMP if threading == ("-fopenmp",) else _PLAIN
        threaded = Compiler(command, version, (*tuned.flags, *threading), openmp=False)
        if _works(threaded, source, output):
            return threaded.flags, source == _OPENMP
    return tuned.flags, False


def _works(compiler: Compiler, source: str, output: Path) -> bool:
    """Whether a probe compiles, loads and runs."""
    library = output.with_stem(output.stem + compiler.flags[-1])
    try:
        compiler.compile(source, library)
        return int(_loaded(library).staticnet_probe()) > 0
    except (CompileError, OSError):
        return False


def _loaded(library: Path) -> ctypes.CDLL:
    """A probe loaded from where it is, or from elsewhere if no code may be run from there."""
    try:
        return ctypes.CDLL(str(library))
    except OSError:
        folder = tempfile.mkdtemp(dir=cache.private().folder)
        return ctypes.CDLL(shutil.copy(library, folder))


def _run(command: tuple[str, ...], source: Path | None = None) -> str:
    """What a command prints.

    Raises:
        CompileError: if it cannot be run or fails.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise CompileError(f"{shlex.join(command)}: {error}") from error
    if done.returncode == 0:
        return done.stdout
    said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    first = next((i for i, line in enumerate(said) if "error" in line), 0)
    reason = "\n".join(said[first : first + ERROR_LINES]) or f"exit status {done.returncode}"
    kept = "" if source is None else f"\nthe source is kept in {source}"
    raise CompileError(f"the C compiler failed: {reason}\ncommand: {shlex.join(command)}{kept}")
