"""The server of the playground: pages, and a connection with a session for each tab."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections import deque
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from staticnet.errors import ArgumentError
from staticnet.playground import compiled
from staticnet.playground.messages import MOST_BYTES, read
from staticnet.playground.security import Allowed, Guard, Limit
from staticnet.playground.session import Session
from staticnet.playground.told import as_json, welcome

STATIC = Path(__file__).parent / "static"
MOST_TABS = 32
MOST_TEXTS = 64  # that wait for a tab which does not read
_FRAMED = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
}


class Outbox:
    """What waits for a tab: texts in order, and of the frames the latest."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._texts: deque[str] = deque()
        self._frame: bytes | None = None
        self._changed = asyncio.Event()
        self.overflown = False

    def tell(self, message: dict[str, Any]) -> None:
        """Leave a text, from any thread."""
        text = json.dumps(as_json(message), ensure_ascii=False, allow_nan=False)
        self._soon(self._add, text)

    def show(self, frame: bytes) -> None:
        """Leave a frame in the place of the one before, from any thread."""
        self._soon(self._put, frame)

    def _soon(self, act: Any, given: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act, given)

    def _add(self, text: str) -> None:
        if len(self._texts) >= MOST_TEXTS:
            self.overflown = True
        else:
            self._texts.append(text)
        self._changed.set()

    def _put(self, frame: bytes) -> None:
        self._frame = frame
        self._changed.set()

    async def send(self, tab: WebSocket) -> None:
        """Send all that comes, until the tab has gone or does not read."""
        while not self.overflown:
            await self._changed.wait()
            self._changed.clear()
            while self._texts:
                await tab.send_text(self._texts.popleft())
            if self._frame is not None:
                frame, self._frame = self._frame, None
                await tab.send_bytes(frame)
        await tab.close(1008)


class Tabs:
    """The sessions of open tabs, by keys that only their pages know."""

    def __init__(self, device: str) -> None:
        self.sessions: dict[str, Session] = {}
        self._device = device

    async def connect(self, tab: WebSocket) -> None:
        """Serve a tab until it closes; then end its session."""
        if len(self.sessions) >= MOST_TABS:
            await tab.close(1013)
            return
        await tab.accept()
        outbox = Outbox(asyncio.get_running_loop())
        key = secrets.token_urlsafe(16)
        session = self.sessions[key] = Session(outbox.tell, outbox.show, self._device)
        outbox.tell(welcome(key))
        sender = asyncio.create_task(outbox.send(tab))
        sender.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await _listen(tab, session, outbox)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:  # without waiting: this may be cancelled
            del self.sessions[key]
            session.end()
            sender.cancel()

    async def ask(self, request: Any) -> Response:
        """A page, a file or a table of what a tab has compiled."""
        session = self.sessions.get(request.path_params["key"])
        make = _PARTS.get(request.path_params["part"])
        if session is None or make is None:
            return Response("there is no such tab or part\n", 404, headers=_FRAMED)
        try:
            return await asyncio.wrap_future(session.ask(make))
        except ArgumentError as error:
            return Response(f"{error}\n", 202, headers=_FRAMED)  # there is nothing yet


async def _listen(tab: WebSocket, session: Session, outbox: Outbox) -> None:
    limit = Limit()
    while True:
        message = await tab.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if not limit.allows():
            await tab.close(1008, "too many messages")
            return
        try:
            asked = read(message.get("bytes") or b"" if text is None else text)
        except ArgumentError as error:
            outbox.tell({"kind": "error", "text": f"{error}"})
            continue
        if not session.post(asked):
            outbox.tell({"kind": "error", "text": "playground: too much is asked at once"})


_PARTS = {
    "graph.html": lambda s: Response(
        compiled.page(s.engine), media_type="text/html", headers=_FRAMED
    ),
    "details.json": lambda s: JSONResponse(as_json(compiled.details(s.engine))),
    "step.zip": lambda s: Response(
        compiled.exported(s.engine),
        media_type="application/zip",
        headers={"content-disposition": 'attachment; filename="step.zip"'},
    ),
}


def application(port: int, device: str = "auto") -> Any:
    """The ASGI application of a server at a port of the loopback."""
    tabs = Tabs(device)
    routes = [
        Route("/", lambda request: FileResponse(STATIC / "index.html")),
        Route("/tab/{key}/{part}", tabs.ask),
        WebSocketRoute("/tab", tabs.connect),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes)
    app.state.tabs = tabs
    return Guard(app, Allowed(port))


def listen(port: int) -> socket.socket:
    """A socket on the loopback, at which requests may wait already.

    Raises:
        OSError: if the port is taken.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
        found.listen(128)
    except OSError:
        found.close()
        raise
    return found


def server(port: int, device: str = "auto") -> uvicorn.Server:
    """A server for a socket at this port: `server(port).run(sockets=[bound])` ends with Ctrl-C."""
    settings = uvicorn.Config(
        application(port, device),
        log_level="warning",
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=4 * MOST_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    return uvicorn.Server(settings)
