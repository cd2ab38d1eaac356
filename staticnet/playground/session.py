"""One tab: its state, its model, and the one thread that trains it and draws its frames.

A second thread compiles, so that the tab answers meanwhile. Frames are made when the tab has drawn
those before: one is on its way while another is drawn, and none waits in a queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from typing import Any, TypeVar

from staticnet.errors import ArgumentError, StaticnetError
from staticnet.playground import frames
from staticnet.playground.config import PACES, Config
from staticnet.playground.data import Points, sample
from staticnet.playground.derivation import Derivation, place_name
from staticnet.playground.engines import ENGINES, Engine, seconds_per_step
from staticnet.playground.mailbox import Mailbox
from staticnet.playground.messages import Act, Assign, Configure, Message, Place, Select, Show
from staticnet.playground.model import Model
from staticnet.playground.pace import Pace
from staticnet.playground.told import compiled_told, config_told, points_told

log = logging.getLogger("staticnet")
T = TypeVar("T")

VIEW = {"discrete", "test", "pace"}
RATES = {"lr", "rate"}  # variables of the step: nothing is built anew
KEEPS = {"batch", "optimizer", "engine", "without"}  # another step on the same parameters
DATA = {"dataset", "noise", "split", "seed"}


class Session:
    """A thread that trains; `tell` gets what it says, `show` its frames, both from that thread."""

    def __init__(
        self,
        tell: Callable[[dict[str, Any]], None],
        show: Callable[[bytes], None],
        device: str = "auto",
    ) -> None:
        self._tell, self._show, self._device = tell, show, device
        self._mailbox = Mailbox()
        self._builder = ThreadPoolExecutor(1, "playground-compile")
        self._thread = threading.Thread(target=self._run, name="playground", daemon=True)
        self.config = Config()
        self.model: Model | None = None
        self.engine: Engine | None = None
        self._points: Points
        self._pace = Pace()
        self._playing = self._changed = False
        self._wanted = 0  # frames
        self._unit: tuple[int, int] | None = None
        self._selected: Place | None = None
        self._generation = self._steps = 0
        self._thread.start()

    def post(self, message: Message) -> bool:
        """Ask for something; whether there was room for the message."""
        return self._mailbox.put(message)

    def ask(self, question: Callable[[Session], T]) -> Future[T]:
        """What a function finds, called in the thread between two steps."""
        answer: Future[T] = Future()
        if not self._mailbox.put((question, answer)):
            answer.set_exception(_busy())
        return answer

    def end(self) -> None:
        """End the threads: after the burst, or the compilation, that they are at."""
        for item in self._mailbox.close():
            if isinstance(item, tuple) and item[1].set_running_or_notify_cancel():
                item[1].set_exception(_busy())
        self._builder.shutdown(wait=False, cancel_futures=True)

    def join(self, timeout: float) -> bool:
        """Whether the training thread has ended, in so many seconds at most."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while (items := self._mailbox.take(self._wait())) is not None:
                for item in items:
                    self._handle(item)
                if self._wait() == 0.0:
                    self._advance(self._pace.epochs)
                self._draw()
        except Exception as error:
            log.exception("playground: a tab's thread ended")
            self._tell({"kind": "error", "text": f"{error}"})
            self.end()

    def _wait(self) -> float | None:
        """Seconds until something is to be done unasked; None if nothing is."""
        return self._pace.wait() if self._playing and self.engine is not None else None

    def _handle(self, item: Any) -> None:
        if isinstance(item, tuple):
            question, answer = item
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(question(self))
            except Exception as error:
                answer.set_exception(error)
            return
        try:
            self._do(item)
        except StaticnetError as error:
            self._tell({"kind": "error", "text": f"{error}"})

    def _do(self, message: Any) -> None:
        match message:
            case Configure(config, serial):
                self._configure(config, serial)
            case Act("drawn"):
                self._wanted = min(self._wanted + 1, frames.AHEAD)
            case Act("play") | Act("pause"):
                self._playing = message.kind == "play"
                self._changed = True
                self._pace.begin(PACES[self.config.pace])
            case Act("step"):
                self._playing = False
                self._advance(1)
            case Act("reset"):
                self._renew(keep=False)
            case Show(unit):
                self._unit = unit if self._has_unit(unit) else None
                self._changed = True
            case Select(place):
                self._select(place)
            case Assign(place, value):
                self._assign(place, value)
            case _Built():
                self._take(message)

    def _configure(self, config: Config, serial: int) -> None:
        """Go on in another state, with as little made anew as can be."""
        old, self.config = self.config, config
        changed = {
            f.name for f in fields(Config) if getattr(old, f.name) != getattr(config, f.name)
        }
        self._tell(config_told(config) | {"serial": serial})
        self._pace.begin(PACES[config.pace])
        first = self.model is None
        if first or changed & DATA:
            self._points = sample(config.dataset, config.noise, config.split, config.seed)
            self._tell(points_told(self._points))
        if first or changed - VIEW - RATES:
            self._renew(keep=not first and not changed - VIEW - RATES - KEEPS)
        else:
            assert self.model is not None
            self.model.set_rates(config.lr, config.rate)
        self._changed = True

    def _renew(self, keep: bool) -> None:
        """Make the model anew, and have its step compiled."""
        self.model = model = Model(self.config, self.model if keep else None)
        self.engine = None
        self._generation += 1
        if not keep:
            self._steps = 0
        if not self._has_unit(self._unit):
            self._unit = None
        if self._selected is not None and not model.has(self._selected):
            self._selected = None
        self._changed = True
        self._tell({"kind": "compiling", "generation": self._generation})
        generation, make = self._generation, ENGINES[self.config.engine]
        with suppress(RuntimeError):  # the tab has been closed meanwhile
            self._builder.submit(self._build, generation, make, model)

    def _build(self, generation: int, make: Callable[[Model, str], Engine], model: Model) -> None:
        """Compile, in the builder's thread, unless a newer model is there."""
        if generation != self._generation:
            return
        start = time.perf_counter()
        try:
            made: Engine | Exception = make(model, self._device)
        except Exception as error:
            made = error
        self._mailbox.put(_Built(generation, made, time.perf_counter() - start))

    def _take(self, built: _Built) -> None:
        if built.generation != self._generation:
            return
        if isinstance(built.made, Exception):
            self._playing = False
            self._tell({"kind": "error", "text": f"{built.made}"})
            return
        self.engine = built.made
        self._pace.begin(PACES[self.config.pace])
        points = self._points
        step = seconds_per_step(self.engine, points.train, points.train_labels)
        told = compiled_told(self.engine, built.generation, built.seconds)
        self._tell(told | {"seconds_per_step": step})

    def _advance(self, epochs: int) -> None:
        if self.engine is None:
            return
        points = self._points
        with self._pace.timed() as timing:
            timing.steps = self.engine.advance(
                points.train, points.train_labels, epochs, self._pace.seconds
            )
        self._steps += timing.steps
        self._changed = True

    def _draw(self) -> None:
        """A frame, if the tab has drawn those before and there is something new."""
        if not (self._wanted and self._changed) or self.model is None:
            return
        self._wanted -= 1
        self._changed = False
        points, config = self._points, self.config
        look = self.model.look(points.train, points.train_labels)
        test_loss, test_accuracy = self.model.judge(points.test, points.test_labels)
        numbers = (
            self._generation,
            self._steps,
            self._steps / (len(points.train) // config.batch),
            look.loss,
            test_loss,
            look.accuracy if config.classifies else float("nan"),
            test_accuracy if config.classifies else float("nan"),
            self._pace.seconds_per_step,
            self._pace.steps_per_second(),
            self._playing,
            self.model.side,
        )
        self._show(frames.pack(numbers, self.model, look, self._unit))
        if self._selected is not None and self._pace.tells():
            self._tell_selected()

    def _has_unit(self, unit: tuple[int, int] | None) -> bool:
        layers = self.config.layers
        return unit is None or (unit[0] < len(layers) and unit[1] < layers[unit[0]])

    def _select(self, place: Place) -> None:
        if self.model is not None and self.model.has(place):
            self._selected = place
            self._tell_selected()

    def _tell_selected(self) -> None:
        assert self.model is not None
        assert self._selected is not None
        model, place = self.model, self._selected
        parameter, index = model.at(place)
        kept = {} if self.engine is None else self.engine.updates.state[parameter]
        state = {k: float(v.value[index]) for k, v in kept.items() if v.shape == parameter.shape}
        told = Derivation(model, place).told(self._points.train, self._points.train_labels)
        name, value = place_name(model, place), float(parameter.value[index])
        self._tell({"kind": "selected", "name": name, "value": value, "state": state, **told})

    def _assign(self, place: Place, value: float) -> None:
        if self.model is None or not self.model.has(place):
            return
        parameter, index = self.model.at(place)
        array = parameter.value.copy()
        array[index] = value
        parameter.value = array
        self._changed = True
        if self._selected == place:
            self._tell_selected()


def _busy() -> ArgumentError:
    return ArgumentError("playground: this tab is busy or closed")


class _Built:
    """A step that was compiled, or why not."""

    def __init__(self, generation: int, made: Engine | Exception, seconds: float) -> None:
        self.generation, self.made, self.seconds = generation, made, seconds
