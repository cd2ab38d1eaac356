"""Nodes know the module that made them; what tells of a function groups by it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.ir.location import common_module
from staticnet.ir.node import modules_of, topological

X = sn.placeholder((4, 3), name="paths_x")


class Attention(nn.Module):
    def __init__(self) -> None:
        self.query = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return nn.softmax(self.query(x), axis=-1) * x


class Layer(nn.Module):
    def __init__(self) -> None:
        self.attention = Attention()
        self.heads = {"left": nn.Linear(3, 3), "right": [nn.Linear(3, 3)]}

    def forward(self, x: Any) -> Any:
        x = sn.tanh(self.attention(x))
        return self.heads["left"](x) + sn.sigmoid(self.heads["right"][0](x))


class Encoder(nn.Module):
    def __init__(self) -> None:
        self.layers = nn.ModuleList([Layer() for _ in range(2)])

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return sn.exp(x)


class Model(nn.Module):
    def __init__(self) -> None:
        self.encoder = Encoder()
        self.head = nn.Linear(3, 1)

    def forward(self, x: Any) -> Any:
        return sn.sin(self.head(self.encoder(x)))

    def encode(self, x: Any) -> Any:
        return sn.cos(self.encoder(x))


def ops_of(*roots: Any) -> dict[str, set[str]]:
    """The ops of the nodes of each module, "" for those of none; numbers may be anybody's."""
    found: dict[str, set[str]] = {}
    for node in topological(roots):
        if node.is_constant:
            continue
        for module in node.provenance.modules or ("",):
            found.setdefault(module, set()).add(node.op.name)
    return found


class TestPaths:
    def test_a_path_is_the_one_of_named_modules(self) -> None:
        model = Model()
        found = ops_of(model(X))
        assert set(found) <= {name for name, _ in model.named_modules()}
        assert set(found) == {""} | {
            f"encoder{part}"
            for part in (
                "",
                *(
                    f".layers.{i}{below}"
                    for i in range(2)
                    for below in (
                        "",
                        ".attention",
                        ".attention.query",
                        ".heads.left",
                        ".heads.right.0",
                    )
                ),
            )
        } | {"head"}
        assert {"exp"} == found["encoder"]
        assert "tanh" in found["encoder.layers.1"]
        assert "sin" in found[""]

    def test_a_gradient_is_its_modules(self) -> None:
        model = Model()
        gradients = sn.grad(sn.sum(model(X)), model.parameters())
        made = [n for n in topological(gradients) if n.provenance.made_by == "gradient"]
        paths = {path for node in made for path in node.provenance.modules}
        assert {"head", "encoder.layers.0.attention", "encoder.layers.1.heads.left"} <= paths
        tangents = sn.jvp(model(X), [X], [X])
        texts = [str(n.provenance) for n in topological(tangents)]
        assert any("tangent of" in t and t.endswith(", in head") for t in texts)

    def test_passes_keep_it(self) -> None:
        model = Model()
        loss = sn.mean(model(X) ** 2)
        step = sn.function(X, loss, updates=sn.optim.Adam(1e-3).minimize(loss))
        for graph in (step.graph, step.passes()[-1].graph):
            paths = {path for n in graph.nodes for path in n.provenance.modules}
            assert {"encoder.layers.0.attention.query", "head"} <= paths

    def test_a_rewritten_node_is_its_modules(self) -> None:
        class Twice(nn.Module):
            def forward(self, x: Any) -> Any:
                return sn.exp(sn.log(sn.exp(x) * 1.0 + 0.0)) * sn.reshape(x, (3, 4)).T * 2 * 3

        holder = nn.Sequential(Twice())
        f = sn.function(X, sn.sum(holder(X[:, :3] @ np.ones((3, 3), np.float32)[:, :3])))
        kept = f.passes()[-1].graph
        assert "0" in {path for n in kept.nodes for path in n.provenance.modules}

    def test_text_and_identity_are_without_it(self) -> None:
        model = Model()
        graph = sn.Graph("g", [X], [model(X)])
        assert sn.parse(str(graph)) is graph
        assert nn.Sequential(nn.Tanh())(X) is sn.tanh(X)

    def test_one_expression_of_two_modules_is_of_both(self) -> None:
        class Both(nn.Module):
            def __init__(self) -> None:
                self.a, self.b = nn.ReLU(), nn.ReLU()

            def forward(self, x: Any) -> Any:
                return self.a(x) + self.b(x)

        x = sn.placeholder((5,), name="paths_both")
        total = Both()(x)
        (relu,) = [n for n in topological([total]) if n.op.name == "relu"]
        assert relu.provenance.modules == ("a", "b")
        assert str(relu.provenance).endswith(", in a + b")

    def test_a_shared_module_has_the_path_of_the_call(self) -> None:
        class Shared(nn.Module):
            def __init__(self) -> None:
                shared = nn.Linear(3, 3)
                self.first, self.second = nn.Sequential(shared), nn.Sequential(nn.Tanh(), shared)

            def forward(self, x: Any) -> Any:
                return self.second(self.first(x))

        names = ops_of(Shared()(X))
        assert "matmul" in names["first.0"]
        assert "matmul" in names["second.1"]

    def test_a_list_is_named_as_it_is_now(self) -> None:
        net = nn.Sequential(nn.Tanh(), nn.Sigmoid())
        net.insert(0, nn.ReLU())
        names = ops_of(net(sn.placeholder((3,), name="paths_list")))
        assert names["0"] == {"relu"}
        assert names["1"] == {"tanh"}
        assert names["2"] == {"sigmoid"}

    def test_the_outermost_has_the_name_of_its_place(self) -> None:
        model = Model()
        assert set(ops_of(model.encode(X))) > {"encoder", "encoder.layers.0.attention"}
        assert set(ops_of(nn.Linear(3, 2)(X))) == {""}
        assert (
            "matmul"
            in ops_of(model.encoder.layers[1].attention(X))["encoder.layers.1.attention.query"]
        )

    def test_a_module_of_the_call_alone_is_the_callers(self) -> None:
        class Dropped(nn.Module):
            def forward(self, x: Any) -> Any:
                self.late = nn.Tanh()
                return nn.ReLU()(nn.Sequential(nn.Sigmoid())(self.late(x)))

        names = ops_of(nn.Sequential(Dropped())(sn.placeholder((2,), name="paths_alone")))
        assert names["0"] == {"relu"}
        assert names["0.late"] == {"tanh"}
        assert names["0.0"] == {"sigmoid"}

    def test_a_module_given_to_a_forward_keeps_its_place(self) -> None:
        class Tied(nn.Module):
            def forward(self, x: Any, table: nn.Module) -> Any:
                return sn.tanh(table(x))

        class Owner(nn.Module):
            def __init__(self) -> None:
                self.table, self.tied = nn.Linear(3, 3), Tied()

            def forward(self, x: Any) -> Any:
                return self.tied(x, self.table)

        names = ops_of(Owner()(X))
        assert "matmul" in names["table"]
        assert "tanh" in names["tied"]

    def test_modules_in_a_circle_end(self) -> None:
        class Child(nn.Module):
            def __init__(self, parent: nn.Module) -> None:
                self.parent = [parent]

            def forward(self, x: Any) -> Any:
                return nn.Tanh()(sn.exp(x))

        class Parent(nn.Module):
            def __init__(self) -> None:
                self.child = Child(self)

            def forward(self, x: Any) -> Any:
                return self.child(x)

        (names,) = [v for k, v in ops_of(Parent()(X)).items() if k.endswith("child")]
        assert names == {"exp", "tanh"}

    def test_it_ends_with_the_call_and_with_an_error(self) -> None:
        class Wrong(nn.Module):
            def forward(self, x: Any) -> Any:
                return x @ x

        net = nn.Sequential(nn.Sequential(Wrong()))
        with pytest.raises(sn.errors.ShapeError, match=r"\(.*:\d+, in 0\.0\)$"):
            net(X)
        with pytest.raises(sn.errors.SymbolicValueError, match=r"in 0\b"):
            nn.Sequential(Branching())(X)
        assert sn.exp(X + 0.125).provenance.modules == ()

    def test_threads_have_their_own(self) -> None:
        inside, done = threading.Event(), threading.Event()

        class Waiting(nn.Module):
            def forward(self, x: Any) -> Any:
                inside.set()
                assert done.wait(10)
                return sn.sin(x + 0.5)

        made: list[Any] = []
        net = nn.Sequential(Waiting())
        thread = threading.Thread(target=lambda: made.append(net(X)))
        thread.start()
        assert inside.wait(10)
        assert sn.exp(X + 0.25).provenance.modules == ()
        done.set()
        thread.join()
        assert made[0].provenance.modules == ("0",)

    def test_a_failure_names_it(self) -> None:
        net = nn.Sequential(nn.Embedding(4, 3))
        at = sn.placeholder((2,), "int64", name="paths_at")
        f = sn.function(at, net(at))
        with pytest.raises(sn.errors.ExecutionError, match=r", in 0\)"):
            f(np.array([0, 9]))
        with pytest.raises(sn.errors.ShapeError, match=r", in 0\)"):
            nn.Sequential(nn.Linear(3, 2))(sn.dynamic.tensor(np.ones((2, 4), np.float32)))


def test_loops_are_of_the_modules_in_their_bodies() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            self.cell, self.head = nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 1)

        def forward(self, xs: Any) -> Any:
            def step(h: Any, x: Any) -> Any:
                return sn.tanh(self.cell(h) + x), sn.exp(x)

            last, _ = sn.scan(step, sn.zeros((4, 3)), xs)
            return self.head(last)

    xs = sn.placeholder((5, 4, 3), name="paths_xs")
    model = Recurrent()
    loss = sn.sum(model(xs))
    f = sn.function(xs, [loss, *sn.grad(loss, model.parameters())])
    for graph in (f.graph, f.passes()[-1].graph):
        loops = [n for n in graph.nodes if n.op.name == "scan"]
        assert {modules_of([n]) for n in loops} == {("cell.0",)}
    cost, account = f.cost_analysis(), f.explain()
    assert list(cost.by_module()) == ["", "cell.0", "head"]
    assert sum(row.flops for row in cost.by_module().values()) == cost.flops
    assert sum(row.bytes for row in account.by_module().values()) == account.bytes_moved
    assert sum(row.flops for row in account.by_module().values()) == account.flops
    both = nn.Sequential(nn.Sequential(Recurrent()), nn.Sequential(Recurrent()))
    first, second = both[0](xs), both[1](xs)
    (one, other) = [n for n in topological([first + second]) if n.op.name == "scan"]
    assert one.op.body is other.op.body  # type: ignore[attr-defined]
    assert modules_of([one]) == ("0.0", "0.0.cell.0")
    assert modules_of([other]) == ("1.0", "1.0.cell.0")
    batched = modules_of(topological([sn.vmap(model.head)(X)]))
    assert batched == ("head",)


class Branching(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x > 0 else -x


@pytest.mark.parametrize(
    ("modules", "name"),
    [
        ([], ""),
        ([""], ""),
        (["a", "", "a"], "a"),
        (["a.b", "c"], "a.b + c"),
        (["a.b", "a.c"], "a.b + a.c"),
        (["a.b", "a", "a.b.c"], "a"),
        (["b.10", "b.2"], "b.2 + b.10"),
        (["ab", "a"], "a + ab"),
        (["a.b.x", "a.b.y", "a.c.x"], "a"),
        (["a", "b", "c"], "a + b + c"),
        (["a", "b", "c", "d", "e"], "a + b + 3 more"),
    ],
)
def test_several_modules_have_one_name(modules: list[str], name: str) -> None:
    assert common_module(modules) == name
