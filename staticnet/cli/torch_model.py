"""A graph run by PyTorch, operation by operation, as a contender of `staticnet compare`.

It has PyTorch's own function for each op, and for a softmax, a layer norm, a product or a
convolution with a bias, attention, as one who writes the model in PyTorch calls them.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from staticnet.attention.layout import LAYOUTS
from staticnet.errors import ArgumentError
from staticnet.io.onnx.writing.recognised import Group, Groups
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.state import Variable

Array = np.ndarray[Any, Any]
NEWEST = 10**6  # of opsets: all groups are known
_SAME = """
abs add subtract multiply divide negative sign ceil floor round pow sqrt rsqrt exp expm1 log log1p
log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf sigmoid relu maximum
minimum where matmul isnan isinf isfinite logical_not logical_and logical_or logical_xor
bitwise_and bitwise_or bitwise_xor remainder atan2 hypot
"""
SAME = frozenset(_SAME.split())
RENAMED = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt",
           "greater_equal": "ge", "bitwise_invert": "bitwise_not"}  # fmt: skip


class TorchModel:
    """y = the graph on PyTorch's tensors. Weights are tensors from the start.

    Raises:
        ArgumentError: if there is no function for an op here; names it.
    """

    def __init__(self, graph: Graph) -> None:
        self.torch = importlib.import_module("torch")
        self.graph = graph
        groups = Groups(graph, NEWEST)
        needed, self._calls = set(graph.outputs), list[tuple[Node, Any, tuple[Node, ...]]]()
        self._fixed: dict[Node, Any] = {}
        for node in reversed(graph.nodes):
            if node not in needed or node.op.name == "placeholder":
                continue
            group = groups.of(node)
            operands = node.inputs if group is None else group.nodes
            needed |= set(operands)
            if node.op.name == "constant":
                self._fixed[node] = self._tensor(node.op.attributes()["value"].array)
            elif isinstance(node, Variable):
                self._fixed[node] = self._tensor(node.value)
            else:
                call = self._of_op(node) if group is None else self._of_group(group)
                self._calls.append((node, call, operands))
        self._calls.reverse()

    def _tensor(self, array: Any) -> Any:
        return self.torch.from_numpy(np.array(array))

    def __call__(self, *feeds: Any) -> list[Any]:
        """The outputs, from tensors of the inputs in order."""
        values = self._fixed | dict(zip(self.graph.inputs, feeds, strict=True))
        for node, call, operands in self._calls:
            values[node] = call(*(values[x] for x in operands))
        return [values[node] for node in self.graph.outputs]

    def _of_group(self, group: Group) -> Callable[..., Any]:
        torch, given = self.torch, group.attributes
        f = torch.nn.functional
        if group.operator == "ReduceMean":
            return lambda x: torch.mean(x, tuple(group.axes), group.keepdims)
        if group.operator in ("Softmax", "LogSoftmax"):
            call = getattr(torch, {"Softmax": "softmax"}.get(group.operator, "log_softmax"))
            return lambda x: call(x, given["axis"])
        if group.operator == "LayerNormalization":
            rank, eps = given["axis"], given["epsilon"]
            has = isinstance(group.operands[1], Node)
            return lambda x, *w: f.layer_norm(x, x.shape[rank:], *(w if has else ()), eps=eps)
        if group.operator == "BatchNormalization":
            eps = given["epsilon"]
            return lambda x, w, b, mean, var: f.batch_norm(x, mean, var, w, b, eps=eps)
        if group.operator == "Gemm":
            turned = given["transB"]
            return lambda x, w, b: f.linear(x, w if turned else w.T, b)
        return lambda x, w, b: self._convolve(given, x, w, b)

    def _convolve(self, given: Mapping[str, Any], x: Any, w: Any, b: Any = None) -> Any:
        f, rank = self.torch.nn.functional, x.ndim - 2
        low, high = given["pads"][:rank], given["pads"][rank:]
        if low != high:
            x, low = self._padded(x, low, high, 0.0), [0] * rank
        call = getattr(f, f"conv{rank}d")
        return call(x, w, b, given["strides"], low, given["dilations"], given["group"])

    def _padded(self, x: Any, low: Sequence[int], high: Sequence[int], value: float) -> Any:
        pairs = [w for pair in zip(reversed(low), reversed(high), strict=True) for w in pair]
        return self.torch.nn.functional.pad(x, pairs, value=value)

    def _of_op(self, node: Node) -> Callable[..., Any]:
        name = node.op.name
        if name in SAME or name in RENAMED:
            found: Callable[..., Any] = getattr(self.torch, RENAMED.get(name, name))
            return found
        make = getattr(self, f"_{name}", None)
        if make is None:
            raise ArgumentError(f"there is no function of PyTorch's for {name} here")
        made: Callable[..., Any] = make(node.op.attributes(), node)
        return made

    # ops by their names

    def _item(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: x[a["index"]]

    def _stop_gradient(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: x

    def _cast(self, a: Mapping[str, Any], node: Node) -> Any:
        dtype = getattr(self.torch, str(a["dtype"]))
        return lambda x: x.to(dtype)

    def _iota(self, a: Mapping[str, Any], node: Node) -> Any:
        column = [-1 if i == a["axis"] else 1 for i in range(node.ndim)]
        ramp = np.arange(int(a["shape"][a["axis"]])).astype(a["dtype"]).reshape(column)
        made = self._tensor(np.broadcast_to(ramp, [int(d) for d in a["shape"]]))
        return lambda: made

    def _reshape(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: x.reshape(a["shape"])

    def _broadcast_to(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: x.expand(a["shape"])

    def _permute_dims(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: x.permute(a["axes"])

    def _slice(self, a: Mapping[str, Any], node: Node) -> Any:
        cut = tuple(map(slice, a["starts"], a["stops"], a["steps"]))
        return lambda x: x[cut]

    def _concat(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda *xs: self.torch.cat(xs, a["axis"])

    def _take(self, a: Mapping[str, Any], node: Node) -> Any:
        before = (slice(None),) * a["axis"]
        return lambda x, i: x[(*before, i.long())]

    def _take_along_axis(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x, i: self.torch.gather(x, a["axis"], i.long())

    def _flip(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: self.torch.flip(x, a["axes"])

    def _argmax(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: self.torch.argmax(x, a["axis"], a["keepdims"])

    def _sum(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: self.torch.sum(x, a["axes"], a["keepdims"]) if a["axes"] else x

    def _max(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: self.torch.amax(x, a["axes"], a["keepdims"]) if a["axes"] else x

    def _min(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x: self.torch.amin(x, a["axes"], a["keepdims"]) if a["axes"] else x

    def _convolution(self, a: Mapping[str, Any], node: Node) -> Any:
        given = {"pads": [*a["low"], *a["high"]], "group": int(a["groups"][0])}
        given |= {key: list(a[key]) for key in ("strides", "dilations")}
        return lambda x, w: self._convolve(given, x, w)

    def _normalize_channels(self, a: Mapping[str, Any], node: Node) -> Any:
        return lambda x, mean, scale, shift: (x - mean) * scale + shift

    def _max_pool(self, a: Mapping[str, Any], node: Node) -> Any:
        call = getattr(self.torch.nn.functional, f"max_pool{len(a['kernel'])}d")
        low, high = list(a["low"]), list(a["high"])

        def pool(x: Any) -> Any:
            around = low
            if low != high:
                x, around = self._padded(x, low, high, -math.inf), [0] * len(low)
            return (call(x, a["kernel"], a["strides"], around, a["dilations"]), None)

        return pool

    def _window_sum(self, a: Mapping[str, Any], node: Node) -> Any:
        call = getattr(self.torch.nn.functional, f"avg_pool{len(a['kernel'])}d")
        if set(a["dilations"]) != {1}:
            raise ArgumentError("PyTorch's averages have no dilations")
        return lambda x: (
            call(self._padded(x, a["low"], a["high"], 0.0), a["kernel"], a["strides"])
            * math.prod(a["kernel"])
        )

    def _attention(self, a: Mapping[str, Any], node: Node) -> Any:
        attend = self.torch.nn.functional.scaled_dot_product_attention

        def call(q: Any, k: Any, v: Any, scale: Any, mask: Any = None) -> Any:
            gqa = q.shape[1] != k.shape[1]
            y = attend(q, k, v, mask, 0.0, a["causal"], scale=float(scale), enable_gqa=gqa)
            return (y.permute(LAYOUTS[a["layout"]]), None)

        return call
