"""Only this machine's own page gets an answer: the names of hosts, origins, headers, and rates."""

from __future__ import annotations

import time
from typing import Any

HOSTS = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
RATE, BURST = 200.0, 400.0  # messages a second of one tab, and at once


class Allowed:
    """The hosts and origins of a server at a port: another name is one that was bound anew."""

    def __init__(self, port: int) -> None:
        self.hosts = {f"{host}:{port}" for host in HOSTS} | ({*HOSTS} if port == 80 else set())
        self.origins = {f"http://{host}" for host in self.hosts}

    def host(self, header: str | None) -> bool:
        """Whether a request is for this server."""
        return header is not None and header.lower() in self.hosts

    def origin(self, header: str | None) -> bool:
        """Whether a page of this server opens a connection; browsers always say which does."""
        return header is not None and header.lower() in self.origins


class Guard:
    """Refuses requests for other hosts, and connections from other origins, before any handler."""

    def __init__(self, app: Any, allowed: Allowed) -> None:
        self.app, self.allowed = app, allowed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI call."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = _single(scope["headers"])
        right = self.allowed.host(headers.get(b"host"))
        if scope["type"] == "websocket":
            if right and self.allowed.origin(headers.get(b"origin")):
                await self.app(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008})
        elif right:
            await self.app(scope, receive, _with_headers(send))
        else:
            await _with_headers(send)({
                "type": "http.response.start", "status": 421,
                "headers": [(b"content-type", b"text/plain")],
            })  # fmt: skip
            await send({"type": "http.response.body", "body": b"this host is not served here\n"})


def _single(headers: list[tuple[bytes, bytes]]) -> dict[bytes, str | None]:
    """Headers by name; one that is there twice has no value."""
    found: dict[bytes, str | None] = {}
    for name, value in headers:
        found[name] = None if name in found else value.decode("latin-1")
    return found


def _with_headers(send: Any) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            have = {name.lower() for name, _ in message["headers"]}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in have]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


class Limit:
    """At most `RATE` messages a second, and `BURST` at once."""

    def __init__(self) -> None:
        self._left, self._at = BURST, time.monotonic()

    def allows(self) -> bool:
        """Whether one more may come now."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * RATE)
        self._at = now
        self._left -= 1
        return self._left >= 0
