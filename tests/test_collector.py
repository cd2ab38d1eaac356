"""The cyclic collector, paused while a graph is compiled."""

from __future__ import annotations

import gc
import os
import threading

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


def test_pauses_of_threads_end_with_the_last() -> None:
    with paused():
        other = threading.Thread(target=in_a_pause)
        other.start()
        other.join()
        assert not gc.isenabled()
    assert gc.isenabled()


def in_a_pause() -> None:
    with paused():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are POSIX's")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_forked_in_a_pause_collects() -> None:
    with paused():
        child = os.fork()
        if not child:
            os._exit(0 if gc.isenabled() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not gc.isenabled()
    assert gc.isenabled()


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
