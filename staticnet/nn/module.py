"""`Module`: a function of values with state, which it finds in its own attributes."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self
from weakref import ref

import numpy as np

from staticnet.control.state_updates import updates_in
from staticnet.errors import ArgumentError, MissingNameError, StaticnetError
from staticnet.ir.hints import check_call, missing_name, raise_own
from staticnet.ir.modes import Mode, changed, note, reading, retyped
from staticnet.ir.node import Node, values_in, with_context
from staticnet.ir.user_functions import guarded
from staticnet.nn.calls import Call
from staticnet.nn.parts import Holder, parts
from staticnet.nn.retyping import DEVICE, as_target, convert_variables
from staticnet.nn.summary import Summary, SummaryRow
from staticnet.ops.state import Variable
from staticnet.ops.with_update import pending
from staticnet.state_dict import LoadResult, load

Array = np.ndarray[Any, Any]
HINTS = {
    "cuda": DEVICE,
    "cpu": DEVICE,
    "zero_grad": "gradients are nodes, made anew in each step; sn.dynamic.Optimizer has zero_grad",
    "compile": "sn.function(x, model(x)) compiles",
}


class Module(Holder):
    """A layer, loss or model: subclasses hold their parts as attributes and define `forward`.

    Parts are Variables, Modules, and lists, tuples and dicts of them in any nesting, under the
    names of the attributes: `layers.0.weight`, `heads.left.bias`. A list or dict is read whenever
    it is asked for, so what was appended or deleted since counts. A Variable made with
    `trainable=False` is a buffer; one whose `trainable` is turned off later is a frozen parameter.
    `training` is read when a graph is built: a graph built before `train()` or `eval()` stays as it
    was, and a function of it says so.

        class Residual(sn.nn.Module):
            def __init__(self, size):
                self.inner = sn.nn.Linear(size, size)

            def forward(self, x):
                return x + sn.nn.relu(self.inner(x))

    Raises:
        ArgumentError: if a part lies in a set, in a class, or in a dict under a key that is no
            name: it would train and not be saved.
    """

    _training: bool = True

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """A module whose `__init__` takes the arguments that are given."""
        if "device" in kwargs and "device" not in inspect.signature(cls.__init__).parameters:
            raise ArgumentError(f"{cls.__name__}: leave device= out: {DEVICE}")
        if args or kwargs:  # a copy has none: its attributes are set
            check_call(cls.__name__, cls.__init__, (None, *args), kwargs)
        return super().__new__(cls)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if any(True for _ in parts(name, value)):
                raise ArgumentError(
                    f"{cls.__name__}.{name}: a part of the class would belong to no module; make "
                    f"it in __init__, as self.{name}"
                )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's result; what a call of the module gives."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def _is_list(self) -> bool:
        return type(self).forward is Module.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `forward` gives; the nodes that it makes know the module's path."""
        with Call(self):
            try:
                return self._noting_modes(args, kwargs)
            except StaticnetError as error:
                if error.located:
                    raise
                named = type(self).__name__
                raise with_context(error, named, values_in(args)) from error.__cause__

    def _noting_modes(self, args: Any, kwargs: Any) -> Any:
        if reading.modes is not None:
            return self.forward(*args, **kwargs)
        modes: dict[int, Mode] = {}
        reading.modes = modes
        try:
            result = self.forward(*args, **kwargs)
        finally:
            reading.modes = None
        if modes:
            note(result, (args, kwargs), modes.values())
        return result

    @property
    def training(self) -> bool:
        """Whether graphs built from now on are for training: what `train` and `eval` set."""
        if reading.modes is not None:
            own = ref(self)
            reading.modes[id(own)] = Mode(own, self._training)
        return self._training

    @training.setter
    def training(self, mode: bool) -> None:
        before, self._training = self._training, mode
        if mode != before:
            changed(self, mode)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze the parameters, or train them again; buffers stay as they are."""
        for module in self.modules():
            for _, variable in module._variables():
                if not variable.buffer:
                    variable.trainable = bool(requires_grad)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and below; it holds for graphs built from now on.

        Raises:
            ArgumentError: if the mode is not a bool.
        """
        if not isinstance(mode, bool):
            raise ArgumentError(f"train: the mode must be True or False, not {mode!r:.60}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """Dotted name -> a copy of the value, buffers included, in the order of attachment.

        A shared Variable stands under each of its names. Buffers that are not persistent are left
        out, such as a Dropout's `counter`: PyTorch has no such state, and loads the rest.
        """
        return {name: v.copied() for name, v, kept in self._all_state() if kept}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Set the state from what `state_dict` gave: all of it or, on an error, nothing.

        `strict=False` leaves out names that only one side has. A float of another width is
        converted; a float does not load into an integer. PyTorch's tensors load as they are, from
        whatever device, and buffers that are not persistent where the state has them.

        Raises:
            StateError: listing missing and unexpected names, and values whose shape or dtype do
                not fit.
        """
        return load(type(self).__name__, list(self._all_state()), state, strict)

    def updates(self) -> dict[Variable, Node]:
        """{variable: node of its next value} of the state that calls in training change.

        Of a batch norm the running statistics. They are those of all calls since a function was
        compiled of them, one after another; a call with equal operands is the same one. None has
        to be asked for: `minimize` merges those that its loss needs, and `sn.function` adds those
        that stand in its graph and that its `updates` do not name.
        """
        own = [variable for _, variable in self._all_variables()]
        return updates_in(pending(own))[1]

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on each module below, and last on this one; -> this one."""
        call = guarded("apply: fn", fn)
        for child in self.children():
            child.apply(fn)
        call(self)
        return self

    def to(self, dtype: Any) -> Self:
        """Give floating variables another dtype, in place; gradients in `.grad` are dropped.

        They are other Variables from then on, under the same names: a function compiled before
        keeps the old ones, which a warning says, and an optimizer is made after this.

        Raises:
            ArgumentError: if it is a device: arrays move by themselves.
            DTypeError: if it is no floating-point dtype.
        """
        new = convert_variables(self.modules(), as_target(dtype))
        retyped(self, new)
        return self

    def float(self) -> Self:
        """`to("float32")`"""
        return self.to("float32")

    def double(self) -> Self:
        """`to("float64")`"""
        return self.to("float64")

    def half(self) -> Self:
        """`to("float16")`"""
        return self.to("float16")

    def bfloat16(self) -> Self:
        """`to("bfloat16")`"""
        return self.to("bfloat16")

    def summary(self) -> Summary:
        """A table to print: each module with state of its own or no parts, and the totals."""
        rows: list[SummaryRow] = []
        seen: set[int] = set()
        for name, module in self.named_modules():
            own = {
                id(variable): (variable, variable.trainable or not variable.buffer)
                for _, variable in module._variables()
                if id(variable) not in seen
            }
            seen |= own.keys()
            if own or not any(module.named_children()):
                rows.append(SummaryRow.of(name, type(module).__name__, list(own.values())))
        return Summary(type(self).__name__, tuple(rows))

    def __copy__(self) -> NoReturn:
        raise ArgumentError(
            f"copy: a shallow copy of {type(self).__name__} would share its parts; take "
            "copy.deepcopy(model), or the model itself"
        )

    def extra_repr(self) -> str:
        """The arguments that `repr` shows."""
        return ""

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __getattr__(self, name: str) -> Any:
        raise_own(self, name)
        if name.startswith("_"):
            raise MissingNameError(f"{type(self).__name__!r} object has no attribute {name!r}")
        known = [*vars(self), *dir(type(self))]
        raise missing_name(f"the module {type(self).__name__}", name, known, HINTS)

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [self.extra_repr()] if self.extra_repr() else []
        body = "\n".join(lines + children).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"
