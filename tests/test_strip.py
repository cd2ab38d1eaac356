"""Stripping C: what the roots reach stays, whole and in order; nothing else does."""

from __future__ import annotations

import re

import pytest

from staticnet.codegen.program import prelude
from staticnet.codegen.strip import _items, _reached, _resolve, strip


def test_reachable_items_stay_with_their_comments_and_in_order() -> None:
    source = """
/* About the file. */

#include <string.h>
// unused
static int lonely(void) { return 1; }
// used by b
static int a(void) { return '}' + sizeof "}"; /* } lonely */ }

static int b(void) {
  return a(); // lonely
}
typedef struct { int n, m; } pair;
static pair table[] = {{1, 2}, {3, 4}};
static void (*hook)(int);
int main(void) { hook(table[0].n); return b(); }
"""
    text = strip(source, ["main"])
    assert "About" not in text
    assert "int lonely" not in text
    order = ["#include <string.h>", "// used by b\nstatic int a", "static int b", "} pair;",
             "table[] =", "(*hook)", "int main"]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_families_of_functions_are_written_out() -> None:
    source = """
#define FAMILY(s, T, F)        \\
  /* the root */               \\
  T root_##s(T x) {            \\
    return sqrt##F(x) + ONE;   \\
  }                            \\
  T twice_##s(T x) { return 2 * root_##s(x); }
FAMILY(f, float, f)
FAMILY(d, double, )
#define ONE 1
int main(void) { return (int)twice_d(1); }
"""
    text = strip(source, ["main"])
    assert "/* the root */\ndouble root_d(double x) {\n  return sqrt(x) + ONE;\n}" in text
    assert "#define ONE 1" in text
    for absent in ("FAMILY", "root_f", "float"):
        assert absent not in text


def test_what_only_a_compiler_can_decide_stays_whole() -> None:
    source = """
#ifndef GUARD_H
#define GUARD_H
#if defined(__CUDACC__)
int cuda;
#else
int host;
#endif
#ifdef _OPENMP
#include <omp.h>
#define THREADS used()
#elif defined(OTHER)
#define THREADS 2
#else
#define THREADS 1
#endif
static int used(void) { return 3; }
int main(void) { return THREADS + host; }
#endif  // GUARD_H
"""
    text = strip(source, ["main"])
    assert "GUARD" not in text
    assert "cuda" not in text
    assert "int host;" in text
    assert text.count("#define THREADS") == 3
    assert "static int used" in text


@pytest.mark.parametrize(
    "declaration",
    [
        "static int x, y;",
        "enum { x, y };",
        "_Static_assert(sizeof(int) == 4, \"x\");",
        "#error x",
    ],
)  # fmt: skip
def test_what_is_not_plain_stays(declaration: str) -> None:
    assert declaration in strip(f"{declaration}\nint main(void) {{ return 0; }}\n", ["main"])


def test_pasted_names_are_uses() -> None:
    source = """
#define CALL(name) sn_##name##_f32()
static int sn_tanh_f32(void) { return 1; }
static int sn_tanh_f64(void) { return 1; }
int main(void) { return CALL(tanh); }
"""
    text = strip(source, ["main"])
    assert "sn_tanh_f32(void)" in text
    assert "sn_tanh_f64" not in text


def test_every_scalar_function_is_kept_with_all_it_needs() -> None:
    items = list(_items(_resolve(prelude()), {}))
    defined = {name for item in items for name in item.names}
    functions = [n for n in defined if re.fullmatch(r"sn_\w+_(?:[fiu]\d+|bf16)", n)]
    assert len(functions) > 200
    for name in functions:
        kept = _reached(items, [name])
        names = {other for item in kept for other in item.names}
        used = {word for item in kept for word in re.findall(r"\bsn_\w+|\bSN_\w+", item.text)}
        assert name in names
        assert used & defined <= names, name
        assert len(kept) < len(items) / 2, name
