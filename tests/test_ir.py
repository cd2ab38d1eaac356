"""Types, dims, hash-consing, text, lines, verifier: what every later stage takes for granted."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import GraphError, ParseError, ShapeError, SymbolicValueError, VerifyError
from staticnet.ir.dim import exact_quotient, parse_dim
from staticnet.ir.literal import Literal, parse_literal
from staticnet.ir.location import Provenance
from staticnet.ir.node import Node, dependents, depends, newer, topological
from staticnet.ir.types import TensorType
from staticnet.ir.verify import verify
from staticnet.ops.arithmetic import Add

b, t = sn.Dim("b"), sn.Dim("t")


class TestDim:
    def test_equal_by_normal_form(self) -> None:
        assert (b + 1) * (b - 1) == b * b - 1
        assert 2 * b + 3 * t - b == t * 3 + b
        assert hash((b + t) * 2) == hash(2 * t + 2 * b)
        assert b != t
        assert b - b == 0
        assert type(b - b + 4) is int

    @pytest.mark.parametrize(
        "text", ["b", "2*b+1", "b*t-3", "b*b*t+b", "-b+4", "(b+1)//2", "3*((b+1)//2)"]
    )
    def test_text_reads_back(self, text: str) -> None:
        assert parse_dim(str(parse_dim(text))) == parse_dim(text)
        assert pickle.loads(pickle.dumps(parse_dim(text))) == parse_dim(text)

    def test_division(self) -> None:
        assert (6 * b * t) // (2 * t) == 3 * b
        assert exact_quotient(b * b - 1, b + 1) == b - 1
        assert exact_quotient(b + 1, 2) is None
        assert (2 * b + 5) // 2 == b + 2
        assert str((b + 3) // 2) == "((b+1)//2)+1"
        with pytest.raises(ShapeError, match="does not divide"):
            b // t

    def test_substitution(self) -> None:
        dim = (b * t + 3) // 2
        assert dim.substitute({"b": 3, "t": 5}) == 9
        assert dim.substitute({"t": 2}) == b + 1

    def test_no_value_before_a_run(self) -> None:
        with pytest.raises(ShapeError, match="b is symbolic"):
            range(b)
        with pytest.raises(ShapeError, match="identifier"):
            sn.Dim("2b")


class TestHashConsing:
    def test_equal_expressions_are_one_node(self) -> None:
        x = sn.placeholder((2,), name="x")
        assert sn.tanh(x) * 2 is sn.tanh(x) * 2
        assert sn.placeholder((2,), name="x") is x
        assert sn.placeholder((3,), name="x") is not x

    def test_constants_are_keyed_on_dtype_and_bits(self) -> None:
        assert sn.constant(0.0) is not sn.constant(-0.0)
        assert sn.constant(1) is not sn.constant(1.0)
        assert sn.constant(1.0) is not sn.constant(1.0, "float64")
        assert sn.constant(float("nan")) is sn.constant(float("nan"))
        assert sn.constant(True) is not sn.constant(1)

    def test_variables_differ_even_if_equal(self) -> None:
        w = sn.variable(np.zeros(2), "w")
        assert sn.variable(np.zeros(2), "w") is not w

    def test_two_draws_differ(self) -> None:
        rng = sn.random.Generator(0)
        first, second = sn.random.uniform(rng.key(), (2,)), sn.random.uniform(rng.key(), (2,))
        assert first is not second

    def test_threads_get_the_same_node(self) -> None:
        x = sn.placeholder((2,), name="threads")
        found: list[set[int]] = []
        kept: list[Any] = []

        def work() -> None:
            nodes = [sn.sin(x) + float(i) for i in range(200)]
            kept.append(nodes)
            found.append({id(node) for node in nodes})

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found[0] == found[1] == found[2] == found[3]

    def test_dead_nodes_are_freed(self) -> None:
        x = sn.placeholder((7,), name="x")
        y = sn.sin(sn.cos(x))
        alive = weakref.ref(y)
        del y
        gc.collect()
        assert alive() is None


def deep(n: int) -> Any:
    x = sn.placeholder((2,), name="x")
    y: Any = x
    for _ in range(n):
        y = sn.sin(y) * x
    return x, y


def test_deep_chains_do_not_recurse() -> None:
    x, y = deep(1_100)  # beyond what Python recurses
    graph = sn.Graph("deep", [x], [y, *sn.grad(sn.sum(y), [x]), *sn.jvp(y, x, x)])
    assert sn.parse(str(graph)) is graph
    verify(graph)
    assert graph.to_networkx().number_of_nodes() == len(graph.nodes)
    assert graph.to_dot().count("->") == sum(len(node.inputs) for node in graph.nodes)
    f = sn.function(x, graph.outputs)
    assert f.cost_analysis().flops > 3_000
    assert np.isfinite(f(np.ones(2, "f"))[0]).all()


TEXT = """\
graph step(%x: f32[batch,2], %y: i64[2*batch+1]) {
  %w: f32[2] = variable(id=900001, dtype=f32, shape=[2])
  %0: f32[batch,2] = multiply(%x, %w)
  %1: f32[2] = sum(%0, axes=(0,), keepdims=False)
  %n: bool[] = constant(value=bool[] (True))
  %2: f32[] = constant(value=f32[] (-0.0))
  %3: f32[2] = add(%1, %2)
  return %0, %n, %y
  update %w = %3
}"""


def test_text_is_what_it_says() -> None:
    graph = sn.parse(TEXT)
    assert sn.parse(str(graph)) is graph
    assert str(graph).replace(" (-0.0)", "").count("%") == TEXT.replace(" (-0.0)", "").count("%")
    assert graph.name == "step"
    assert graph.symbols == {"batch"}
    assert [str(node.type) for node in graph.outputs] == [
        "f32[batch,2]",
        "bool[]",
        "i64[2*batch+1]",
    ]
    assert graph.variables[0].name == "w"
    with pytest.raises(sn.errors.StateError, match="has no value yet"):
        _ = graph.variables[0].value


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("multiply(%x, %w)", "multiply(%x, %q)", "line 3: %q is used before it is defined"),
        ("multiply(%x, %w)", "multply(%x, %w)", "line 3: unknown op 'multply'"),
        ("multiply(%x, %w)", "multiply(%x)", "line 3: multiply: takes 2 operands"),
        ("%0: f32[batch,2]", "%0: f32[batch,3]", "line 3: multiply gives f32"),
        ("axes=(0,), ", "", "line 4: sum takes the attributes"),
        ("keepdims=False", "keepdims=no", "line 4: sum: expected True or False"),
        ("(-0.0)", "(-0.0 1.0)", "line 6: .* needs 4 bytes, got 8"),
        ("update %w = %3", "update %w", "line 9: expected `update"),
        ("update %w = %3", "hello", "line 9: expected `%name"),
        ("graph step(", "grph step(", "line 1: expected `graph"),
        ("bool[] (True)", "b00l[] (True)", "not supported"),
        ("\n}", "", "line 1: expected"),
    ],
)
def test_bad_text_names_the_line(old: str, new: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        sn.parse(TEXT.replace(old, new))


def test_empty_text() -> None:
    with pytest.raises(ParseError, match="empty"):
        sn.parse("\n// nothing\n")


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint64", "float16", "bfloat16", "float32", "float64"]
)
def test_literals_read_back_to_the_bit(dtype: str) -> None:
    rng = np.random.default_rng(0)
    width = np.dtype(sn.constant(0, dtype).dtype).itemsize
    for size in (0, 1, 5, 40):
        raw = (
            rng.integers(0, 2 if dtype == "bool" else 256, size * width).astype(np.uint8).tobytes()
        )
        literal = Literal(sn.constant(0, dtype).dtype, (size,), raw)
        assert parse_literal(str(literal)) == literal


def test_names_are_made_distinct_and_legal() -> None:
    x = sn.placeholder((2,), name="x")
    w1, w2 = sn.variable(np.ones(2, "f"), "x"), sn.variable(np.ones(2, "f"), "la la")
    named = x + w1 + w2
    named.name = "7"
    graph = sn.Graph("g", [x], [named])
    assert sn.parse(str(graph)) is graph
    assert "%x.1: f32[2]" in str(graph)
    assert "%la_la: f32[2]" in str(graph)
    assert "return %_7" in str(graph)


class TestGraph:
    x = sn.placeholder((2,), name="x")

    def test_one_graph_of_equal_parts(self) -> None:
        y = sn.sin(self.x)
        assert sn.Graph("g", [self.x], [y]) is sn.Graph("g", [self.x], [y])
        assert sn.Graph("h", [self.x], [y]) is not sn.Graph("g", [self.x], [y])

    def test_what_is_refused(self) -> None:
        x, w = self.x, sn.variable(np.ones(2, "f"), "w")
        cases = [
            (([], [x]), "the placeholder x f32.2. declared on .*test_ir.py:.* is not an input"),
            (([x, sn.placeholder((3,), name="x")], [x]), "two inputs are named 'x'"),
            (([sn.sin(x)], [x]), "is not a placeholder"),
            (([x], [x], ((x, x),)), "is no variable"),
            (([x], [x], ((w, w), (w, w))), "updated twice"),
            (([x], [x], ((w, sn.sum(x)),)), "has the type f32.. .*cast or reshape it"),
        ]
        for arguments, message in cases:
            with pytest.raises(GraphError, match=message):
                sn.Graph("g", *arguments)

    def test_networkx_and_dot(self) -> None:
        y = self.x * self.x
        graph = sn.Graph("g", [self.x], [y])
        assert sorted(graph.to_networkx().edges(keys=True)) == [(self.x, y, 0), (self.x, y, 1)]
        assert graph.to_dot().splitlines()[0] == 'digraph "g" {'


class TestProvenance:
    def test_a_node_knows_the_users_line(self) -> None:
        x = sn.placeholder((2,), name="provenance")
        y = sn.logsumexp(x)  # here
        line = y.provenance.lines[0]
        assert line.file.endswith("test_ir.py")
        with open(line.file, encoding="utf-8") as file:
            assert "# here" in file.readlines()[line.line - 1]

    def test_a_shared_node_knows_both_lines(self) -> None:
        x = sn.placeholder((2,), name="both")
        y = sn.exp(x)
        assert sn.exp(x) is y
        first, second = y.provenance.lines
        assert second.line == first.line + 1

    def test_of_a_node_that_is_written_often_the_last_line_is_known(self) -> None:
        nodes = [
            sn.placeholder((31,), name="often"),
            sn.placeholder((31,), name="often"),
            sn.placeholder((31,), name="often"),
            sn.placeholder((31,), name="often"),
            sn.placeholder((31,), name="often"),
        ]
        assert len({id(node) for node in nodes}) == 1
        numbers = [line.line for line in nodes[0].provenance.lines]
        assert numbers == list(range(numbers[0], numbers[0] + 4))
        written = Path(__file__).read_text(encoding="utf-8").splitlines()
        assert written[numbers[-1]].strip() == "]"

    def test_a_gradient_names_the_line_it_is_of(self) -> None:
        x = sn.placeholder((2,), name="of")
        y = sn.sum(sn.exp(x) * 3)
        (g,) = sn.grad(y, [x])
        assert str(g.provenance).startswith("gradient of ")
        assert g.provenance.lines == y.provenance.lines

    def test_every_node_of_every_stage_has_a_line(self) -> None:
        x = sn.placeholder(("n", 3), name="x")
        y = sn.mean(sn.exp(x) ** 2)
        f = sn.function(x, [y, *sn.grad(y, [x])])
        for record in f.passes(n=4):
            assert all(node.provenance.lines for node in record.graph.nodes)


class TestVerifier:
    def test_finds_a_wrong_type_and_names_the_pass(self) -> None:
        x = sn.placeholder((2,), name="x")
        wrong = Node(Add(), (x, x), TensorType(x.dtype, (3,)))
        with pytest.raises(VerifyError, match=r"after bad_pass: .*infers f32\[2\]") as caught:
            verify(sn.Graph("g", [x], [wrong]), after="bad_pass")
        assert "add(%x, %x)" in str(caught.value)

    def test_finds_a_node_without_a_line(self) -> None:
        x = sn.placeholder((2,), name="x")
        lost = Node(Add(), (x, x), x.type)
        lost.provenance = Provenance(())
        with pytest.raises(VerifyError, match="no source line"):
            verify(sn.Graph("g", [x], [lost]))


def test_python_asks_a_node_for_a_value() -> None:
    x = sn.placeholder((2,), name="x")
    for act, remedy in [
        (bool, "sn.where"),
        (float, "sn.function"),
        (int, "sn.function"),
        (np.asarray, "sn.function"),
        (range, "sn.take"),
    ]:
        with pytest.raises(SymbolicValueError, match=remedy):
            act(x)
    with pytest.raises(TypeError, match="sn.parse"):
        pickle.dumps(x)


def test_numpy_on_the_left_makes_a_node() -> None:
    x = sn.placeholder((2,), name="x")
    for y in (np.ones(2, "f") + x, np.float32(2) * x, np.ones((3, 2), "f") @ x):
        assert isinstance(y, Node)


def test_numbers_tell_what_a_node_cannot_depend_on() -> None:
    x = sn.placeholder((3,), name="x")
    before = sn.exp(x) + sn.variable(np.zeros(3, "f"))
    given = sn.sin(x + 7)
    after = before * given
    order = topological([after], newer([given]))
    assert order == [before, given, after]  # exp, which is older, is not entered
    assert dependents(order, [given]) == {given, after}
    assert depends([after], given)
    assert not depends([before], given)
    assert topological([after], newer([])) == [after]


def test_constants_have_neither_inputs_nor_state() -> None:
    x, v = sn.placeholder((3,), name="x"), sn.variable(np.zeros(3, "f"))
    seven = sn.constant(7.0)
    assert (seven + sn.arange(3)).is_constant
    assert not any(node.is_constant for node in (x, v, x + seven, sn.exp(v)))
