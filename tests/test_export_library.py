"""An exported step as a library: called from C, from C++ and by ctypes, by its header alone."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import BATCH, STRICT, mlp, same

import staticnet as sn
from staticnet.codegen.c_names import as_name, member_names
from staticnet.errors import ArgumentError
from staticnet.ir.dtype import as_dtype

SHIPPED = True
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on this machine")
C11 = ("-std=c11", "-O1", "-ffp-contract=off", *STRICT)


def compiled(*command: Any) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run(program: Path, *arguments: Any) -> str:
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout


class Shared:
    """An exported step behind ctypes, whose structs are read from the header."""

    create: Any
    destroy: Any
    held: Any
    load: Any
    message: Any
    step: Any

    def __init__(self, source: Path) -> None:
        library = source.with_suffix(".so")
        compiled("cc", *C11, "-DSN_LIBRARY", "-shared", "-fPIC", source, "-o", library, "-lm")
        self.header = source.with_suffix(".h").read_text(encoding="utf-8")
        (self.name,) = re.findall(r"int (\w+)\(\w+_state \*state, const \w+_inputs", self.header)
        self.library = ctypes.CDLL(str(library))
        for end, result, *arguments in (
            ("_create", ctypes.c_void_p),
            ("_destroy", None, ctypes.c_void_p),
            ("_init", ctypes.c_void_p, ctypes.c_void_p),
            ("_held", self.struct("variables"), ctypes.c_void_p),
            ("_load", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p),
            ("_message", ctypes.c_char_p, ctypes.c_int),
            ("", ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p),
        ):
            if function := getattr(self.library, self.name + end, None):
                function.restype, function.argtypes = result, arguments
                setattr(self, end[1:] or "step", function)

    def struct(self, kind: str) -> Any:
        """Pointers by name, in the header's order."""
        bodies = re.findall(r"typedef struct \{((?:.|\n)*?)\} \w+_(\w+);", self.header)
        fields = [re.findall(r"\*(\w+);", body) for body, name in bodies if name == kind]
        names = [(name, ctypes.c_void_p) for name in fields[0]] if fields else []
        return type(kind, (ctypes.Structure,), {"_fields_": names})

    def call(self, state: Any, inputs: list[Any], outputs: list[Any]) -> int:
        """One step on arrays."""
        kinds = (("inputs", inputs), ("outputs", outputs))
        given = [self.struct(kind)(*(a.ctypes.data for a in arrays)) for kind, arrays in kinds]
        return int(self.step(state, *map(ctypes.byref, given)))


def counting(folder: Path, name: str, start: float = 0) -> Path:
    """x: [3], i: [] -> its sum and x[i], while n counts."""
    x, i = sn.placeholder((3,), name="x"), sn.placeholder((), "int64", "i")
    n = sn.variable(np.float32(start), "n")
    f = sn.function([x, i], [sn.sum(x) + n, sn.take(x, i)], updates={n: n + 1}, device="numpy")
    return f.export_c(folder / f"{name}.c")[0]


def told(shared: Shared, code: int) -> str:
    return str(shared.message(code).decode())


PROGRAM = """
#include "one.h"
#include "two.h"
#include <stdio.h>
int main(void) {
  static char memory[TWO_STATE_BYTES + 64];
  one_state *first = one_create(), *second = one_create();
  two_state *third = two_init(memory + (64 - (size_t)memory % 64) % 64);
  if (!first || !second || !third || two_init(memory + 1 + (size_t)memory % 2)) return 3;
  float x[3] = {1, 2, 4}, sum, taken;
  int64_t i = -1;
  one_inputs a;
  two_inputs b;
  one_outputs c;
  two_outputs d;
  a.x = b.x = x;
  a.i = b.i = &i;
  c.output0 = d.output0 = &sum;
  c.output1 = d.output1 = &taken;
  for (int k = 0; k < 2; ++k) {
    if (one(first, &a, &c) != ONE_OK) return 4;
    printf("%g %g\\n", sum, taken);
  }
  if (one(second, &a, &c)) return 4;
  printf("%g\\n", sum);
  if (two(third, &b, &d)) return 4;
  printf("%g\\n", sum);
  i = 3;
  const int code = one(first, &a, &c);
  printf("%d %s\\n", code > 0, one_message(code));
  *one_held(second).n = 50;
  i = 0;
  if (one(first, &a, &c)) return 4;
  printf("%g\\n", sum);
  if (one(second, &a, &c)) return 4;
  printf("%g\\n", sum);
  a.x = NULL;
  printf("%d %d %d %s\\n", one(first, &a, &c), one(NULL, &a, &c), one(first, &a, NULL),
         one_message(-99));
  one_destroy(first);
  one_destroy(second);
  one_destroy(NULL);
  return 0;
}
"""


@pytest.mark.parametrize(("compiler", "flags", "suffix"), [
    ("cc", C11, "c"),
    ("g++", ("-std=c++11", "-O1", "-Wpedantic", *STRICT), "cpp"),
])  # fmt: skip
def test_two_models_and_three_states_in_one_program(
    compiler: str, flags: tuple[str, ...], suffix: str, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    objects = []
    for source in (counting(tmp_path, "one"), counting(tmp_path, "two", 100)):
        objects.append(source.with_suffix(".o"))
        compiled("cc", *C11, "-c", source, "-o", objects[-1])  # with its main, which is weak
    (tmp_path / f"program.{suffix}").write_text(PROGRAM)
    program = tmp_path / "program"
    compiled(compiler, *flags, program.with_suffix(f".{suffix}"), *objects, "-o", program, "-lm")
    lines = run(program).splitlines()
    assert lines[:4] == ["7 4", "8 4", "7", "107"]
    assert lines[4].startswith("1 take: an index is out of range (")
    assert "test_export_library.py:" in lines[4]
    assert lines[5:] == ["9", "57", "-1 -1 -1 there is no such code"]


def test_only_what_the_header_declares_can_be_linked_with(tmp_path: Path) -> None:
    step, _ = mlp(64)
    source, *_ = step.export_c(tmp_path / "net.c", b=BATCH)
    compiled("cc", *C11, "-fno-pic", "-DSN_LIBRARY", "-c", source, "-o", tmp_path / "net.o")
    shown = subprocess.run(["nm", tmp_path / "net.o"], capture_output=True, text=True, check=True)
    symbols = [line.split()[-2:] for line in shown.stdout.splitlines()]
    declared = ["net", *(f"net_{end}" for end in ("create", "destroy", "held", "init", "message"))]
    declared += ["net_load"] * (tmp_path / "net.state.bin").exists()
    assert sorted(name for kind, name in symbols if kind.isupper() and kind != "U") == sorted(
        declared
    )
    assert [name for kind, name in symbols if kind in "bBdDC"] == []  # no memory that is written


def test_every_dtype_is_given_and_read(tmp_path: Path) -> None:
    names = ["bool", "float16", "bfloat16", "float32", "float64"]
    names += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    inputs = [sn.placeholder((2, 3), name, f"é_{name}") for name in names]
    rng = np.random.default_rng(0)
    feeds = [rng.integers(0, 2, (2, 3)).astype(as_dtype(name)) for name in names]
    f = sn.function(inputs, [x[:, ::-1] for x in inputs], device="numpy")
    shared = Shared(f.export_c(tmp_path / "all.c", "all_types")[0])
    assert "const uint16_t *bfloat16; /* bf16[2,3], 'é_bfloat16', the bits" in shared.header
    state = shared.create()
    wanted = f(*feeds)
    got = [np.zeros_like(x) for x in wanted]
    assert shared.call(state, feeds, got) == 0
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    shared.destroy(state)


def test_dims_of_zero_and_steps_without_inputs(tmp_path: Path) -> None:
    x = sn.placeholder((0, 3), name="x")
    f = sn.function(x, [sn.sum(x, axis=0), x * 2], device="numpy")
    shared = Shared(f.export_c(tmp_path / "empty.c")[0])
    state = shared.create()
    sums = np.ones(3, "f")
    outputs = shared.struct("outputs")(sums.ctypes.data, None)
    assert (
        shared.step(state, ctypes.byref(shared.struct("inputs")(None)), ctypes.byref(outputs)) == 0
    )
    assert sums.tolist() == [0, 0, 0]
    n = sn.variable(np.int64(5), "n")
    shared = Shared(
        sn.function([], [], updates={n: n + 1}, device="numpy").export_c(tmp_path / "n.c")[0]
    )
    state = shared.create()
    assert "There are no inputs and no outputs: NULL will do." in shared.header
    assert shared.step(state, None, None) == 0
    held = shared.held(state)
    assert ctypes.c_int64.from_address(held.n).value == 6


@pytest.mark.slow
def test_a_training_step_with_its_first_values_in_a_file(tmp_path: Path) -> None:
    step, feeds = mlp(256)
    source, header, values = step.export_c(tmp_path / "net.c", b=BATCH)
    shared = Shared(source)
    state, loss = shared.create(), np.zeros((), "f")
    assert "no first values" in told(shared, shared.call(state, [*feeds[0]], [loss]))
    short = tmp_path / "short"
    for data, problem in ((values.read_bytes()[:-1], "size"), (values.read_bytes() + b"x", "size")):
        short.write_bytes(data)
        assert problem in told(shared, shared.load(state, bytes(short)))
    assert "cannot be read" in told(shared, shared.load(state, bytes(tmp_path / "none")))
    assert shared.load(state, bytes(values)) == 0
    for feed in feeds[:4]:
        assert shared.call(state, [*feed], [loss]) == 0
        same(loss, step(*feed))
    assert header.name == "net.h"


THREADS = """
#include "net.h"
#include <pthread.h>
#include <stdio.h>
static float x[BATCH][20];
static int64_t y[BATCH];
static void *train(void *loss) {
  net_state *state = net_create();
  net_inputs in = {x[0], y};
  net_outputs out = {(float *)loss};
  for (int k = 0; k < 200; ++k)
    if (net(state, &in, &out)) *(float *)loss = -1;
  net_destroy(state);
  return NULL;
}
int main(void) {
  pthread_t threads[3];
  float losses[4];
  for (int i = 0; i < BATCH; ++i) {
    for (int j = 0; j < 20; ++j) x[i][j] = (float)((i * 7 + j * 3) % 11) / 11;
    y[i] = i % 5;
  }
  for (int t = 0; t < 3; ++t) pthread_create(&threads[t], NULL, train, &losses[t]);
  for (int t = 0; t < 3; ++t) pthread_join(threads[t], NULL);
  train(&losses[3]);
  for (int t = 0; t < 4; ++t) printf("%a\\n", losses[t]);
  return 0;
}
"""


@pytest.mark.slow
def test_threads_with_a_state_each_compute_as_one_does(tmp_path: Path) -> None:
    step, _ = mlp()
    source, *_ = step.export_c(tmp_path / "net.c", b=BATCH)
    (tmp_path / "program.c").write_text(THREADS)
    program = tmp_path / "program"
    compiled(
        "cc",
        *C11,
        f"-DBATCH={BATCH}",
        "-pthread",
        tmp_path / "program.c",
        source,
        "-o",
        program,
        "-lm",
    )
    losses = run(program).split()
    assert len(losses) == 4
    assert len(set(losses)) == 1
    assert float.fromhex(losses[0]) > 0


def test_names_are_free_in_c(tmp_path: Path) -> None:
    names = ["class", "2-layer net", "exp", "main", "sn", "sn_x", "é", "", "errno", "a__b", "net.1"]
    free = ["class_", "x2_layer_net", "exp_", "main_", "x_sn", "x_sn_x", "x", "x", "errno_", "a_b"]
    free.append("net_1")
    assert [as_name(name) for name in names] == free
    assert member_names(["a.b", "a_b", "a-b"]) == ["a_b", "a_b_2", "a_b_3"]
    x = sn.placeholder((2,), name="new")
    f = sn.function(x, x + 1, device="numpy")
    for name in ("free", "a b", "sn_step", "int", "", "k0", "k12_state"):
        with pytest.raises(ArgumentError, match="free in C"):
            f.export_c(tmp_path / "f.c", name)
    calls = {"main": "main_", "exp": "exp_", "k0": "x_k0", "state": "state", "p0": "p0"}
    for stem, call in calls.items():
        source, header = f.export_c(tmp_path / f"{stem}.c")
        compiled("cc", *C11, source, "-o", tmp_path / stem, "-lm")
        assert f"int {call}({call}_state *state" in header.read_text()
        compiled("g++" if shutil.which("g++") else "cc", *STRICT, "-fsyntax-only", header)
