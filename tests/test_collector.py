"""The cyclic collector, paused while a graph is compiled."""

from __future__ import annotations

import gc

import pytest

import staticnet as sn
from staticnet.errors import CompileError
from staticnet.function import BACKENDS
from staticnet.ir.collector import paused


def test_it_is_as_it_was_afterwards() -> None:
    def fail() -> None:
        with paused():
            assert not gc.isenabled()
            raise CompileError("no")

    assert gc.isenabled()
    with pytest.raises(CompileError):
        fail()
    assert gc.isenabled()
    gc.disable()
    try:
        with paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_compiling_pauses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def build(*_: object) -> None:
        seen.append(gc.isenabled())
        raise CompileError("no")

    monkeypatch.setattr(BACKENDS["numpy"], "build", build, raising=False)
    x = sn.placeholder((2,))
    with pytest.raises(CompileError):
        sn.function([x], x + 1, device="numpy")
    assert seen == [False]
    assert gc.isenabled()
