"""The playground's server: who is answered, and what hostile messages do."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import threading
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest

from staticnet.cli.main import main

pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("uvicorn", reason="needs uvicorn")
testclient = pytest.importorskip("starlette.testclient", reason="needs starlette")
pytest.importorskip("websockets", reason="needs websockets")

from starlette.websockets import WebSocketDisconnect  # noqa: E402

from staticnet.playground import server  # noqa: E402
from staticnet.playground.messages import MOST_BYTES  # noqa: E402
from staticnet.playground.security import BURST, Allowed, Limit  # noqa: E402

HOME = "http://127.0.0.1:8731"
OWN = {"host": "127.0.0.1:8731", "origin": HOME}


@pytest.fixture
def client() -> Any:
    app = server.application(8731)
    with testclient.TestClient(app, base_url=HOME) as made:
        made.sessions = app.app.state.tabs.sessions
        yield made
    assert not made.sessions


def connect(client: Any, headers: Any = OWN) -> Any:
    return client.websocket_connect("/tab", headers=headers)


def hear(tab: Any, kind: str) -> Any:
    """The next text of a kind; frames and other texts are passed over."""
    while True:
        message = tab.receive()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message["code"])
        told = json.loads(message["text"]) if message.get("text") else {"kind": "frame"}
        if told["kind"] == kind:
            return told


class TestWhoIsAnswered:
    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:87310", "",
                 "localhost.evil:8731",
                 "127.0.0.1.evil.example:8731", "user@127.0.0.1:8731", "0.0.0.0:8731"],
    )  # fmt: skip
    def test_other_hosts_are_not(self, client: Any, host: str) -> None:
        for path in ("/", "/static/app.js", "/tab/x/graph.html"):
            assert client.get(path, headers={"host": host}).status_code == 421
        with pytest.raises(WebSocketDisconnect), connect(client, {**OWN, "host": host}):
            pass

    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "null", "", None, "https://127.0.0.1:8731", "http://127.0.0.1",
                   "http://127.0.0.1:8731.evil.example", "http://127.0.0.1:8731/", "file://",
                   "http://127.0.0.1:9999"],
    )  # fmt: skip
    def test_other_origins_are_not(self, client: Any, origin: str | None) -> None:
        headers = {**OWN, "origin": origin} if origin is not None else {"host": OWN["host"]}
        with pytest.raises(WebSocketDisconnect), connect(client, headers):
            pass
        assert not client.sessions

    def test_this_machine_is(self, client: Any) -> None:
        for host in ("127.0.0.1:8731", "localhost:8731", "[::1]:8731", "LOCALHOST:8731"):
            headers = {"host": host, "origin": f"http://{host}"}
            assert client.get("/", headers={"host": host}).status_code == 200
            with connect(client, headers) as tab:
                assert hear(tab, "welcome")["small"] == 20

    def test_headers_twice_say_nothing(self) -> None:
        from staticnet.playground.security import _single

        assert _single([(b"host", b"a"), (b"host", b"b")]) == {b"host": None}
        assert not Allowed(8731).host(None)

    def test_pages_may_load_nothing_from_elsewhere(self, client: Any) -> None:
        for path in (
            "/",
            "/static/app.js",
            "/none",
            "/static/../server.py",
            "/static/%2e%2e/server.py",
        ):
            answer = client.get(path)
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert b"import" not in answer.content or path.endswith(".js")
        assert client.post("/").status_code == 405


def test_what_is_told_is_json_where_training_diverged() -> None:
    """Which has no NaN: `JSON.parse` would throw."""

    async def told() -> str:
        outbox = server.Outbox(asyncio.get_running_loop())
        outbox.tell({"state": {"m": np.nan}, "steps": [{"numbers": (-np.inf, 1.5, np.float64(2))}]})
        await asyncio.sleep(0)
        return outbox._texts[0]

    assert asyncio.run(told()) == '{"state": {"m": null}, "steps": [{"numbers": [null, 1.5, 2.0]}]}'


class TestTabs:
    def test_a_tab_is_told_its_state_and_gets_frames(self, client: Any) -> None:
        with connect(client) as tab:
            key = hear(tab, "welcome")["key"]
            tab.send_text(json.dumps({"kind": "open", "query": "split=10&batch=5", "serial": 3}))
            tab.send_text(json.dumps({"kind": "drawn"}))
            told = hear(tab, "config")
            assert (told["config"]["batch"], told["query"]) == (5, "split=10&batch=5")
            assert told["serial"] == 3
            assert len(hear(tab, "points")["train"]) == 3 * 50
            hear(tab, "compiled")
            assert client.get(f"/tab/{key}/details.json").json()["kernels"]
            page = client.get(f"/tab/{key}/graph.html")
            assert "Function step" in page.text
            assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
            held = zipfile.ZipFile(io.BytesIO(client.get(f"/tab/{key}/step.zip").content))
            assert sorted(held.namelist()) == ["step.c", "step.h"]
            assert client.get(f"/tab/{key}/other").status_code == 404
            nothing = client.get("/tab/other/graph.html")  # in a frame, it is told there
            assert nothing.status_code == 404
            assert "frame-ancestors 'self'" in nothing.headers["content-security-policy"]

    def test_an_address_that_says_nothing_is_told(self, client: Any) -> None:
        with connect(client) as tab:
            tab.send_text(json.dumps({"kind": "open", "query": "lr=fast", "serial": 0}))
            assert "lr must be a number" in hear(tab, "error")["text"]
            tab.send_text(json.dumps({"kind": "play"}))
            tab.send_text(json.dumps({"kind": "step"}))  # there is no state yet
            tab.send_text(json.dumps({"kind": "open", "query": "", "serial": 0}))
            assert hear(tab, "config")["query"] == ""

    @pytest.mark.slow
    def test_many_tabs_are_served_and_too_many_are_not(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "MOST_TABS", 2)
        with connect(client) as one, connect(client) as two:
            assert hear(one, "welcome")["key"] != hear(two, "welcome")["key"]
            with pytest.raises(WebSocketDisconnect), connect(client):
                pass

    @pytest.mark.slow
    def test_too_many_messages_end_a_tab(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("staticnet.playground.security.RATE", 0.0)
        with connect(client) as tab:
            for _ in range(int(2 * BURST)):
                tab.send_text('{"kind": "pause"}')
            with pytest.raises(WebSocketDisconnect):
                hear(tab, "never")

    def test_the_limit_fills_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr("staticnet.playground.security.time.monotonic", lambda: now[0])
        limit = Limit()
        assert all(limit.allows() for _ in range(int(BURST)))
        assert not limit.allows()
        now[0] = 1.0
        assert limit.allows()


SEEDS = [
    {"kind": "play"},
    {"kind": "step"},
    {"kind": "drawn"},
    {"kind": "show", "unit": [0, 1]},
    {"kind": "select", "layer": 0, "to": 1, "source": 0},
    {"kind": "assign", "layer": 0, "to": 1, "source": None, "value": 0.5},
    {"kind": "open", "query": "layers=4,2&lr=0.03", "serial": 1},
    {"kind": "configure", "config": {"layers": [2], "lr": 0.1, "test": True}, "serial": 2},
]


def mutated(rng: np.random.Generator) -> str | bytes:
    """A message with some bytes changed, moved, doubled or left out; or a value for another."""
    text = json.dumps(SEEDS[rng.integers(len(SEEDS))])
    odd = [
        "null",
        "1e999",
        "-1",
        "[]",
        "{}",
        '"\\u0000"',
        "9" * 400,
        "[" * 50,
        "true",
        '"__proto__"',
    ]
    data = bytearray(text.encode())
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(len(data) + 1))
        kind = rng.integers(5)
        if kind == 0:
            data[at:at] = bytes(rng.integers(0, 256, rng.integers(1, 9), np.uint8))
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 9))]
        elif kind == 2:
            data[at:at] = data[: int(rng.integers(len(data) + 1))]
        elif kind == 3:
            data[at:at] = odd[rng.integers(len(odd))].encode()
        elif at < len(data):
            data[at] = rng.integers(256)
    if rng.integers(20) == 0:
        return bytes(data)
    return data.decode("utf-8", "replace") * (
        int(rng.integers(2, 200)) if rng.integers(50) == 0 else 1
    )


def send_hostile(client: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutated messages; the tab answers afterwards as before."""
    monkeypatch.setattr("staticnet.playground.security.RATE", 1e9)
    monkeypatch.setattr("staticnet.playground.security.BURST", 1e9)
    monkeypatch.setattr("staticnet.playground.server.MOST_TEXTS", 10 * count)
    rng = np.random.default_rng(0)
    with connect(client) as tab:
        for i in range(count):
            message = mutated(rng)
            if isinstance(message, bytes):
                tab.send_bytes(message)
            else:
                tab.send_text(message)
            if i % 100 == 99:  # the thread keeps up with what is legal among them
                tab.send_text(json.dumps({"kind": "show", "unit": 0}))
                while "unit must be" not in hear(tab, "error")["text"]:
                    pass
        (session,) = client.sessions.values()
        assert session._thread.is_alive()
        answer = session.ask(lambda s: s.config)
        answer.result(60)
        tab.send_text(json.dumps({"kind": "open", "query": "seed=77", "serial": 1}))
        while hear(tab, "config")["config"]["seed"] != 77:
            pass


def test_hostile_messages_are_refused(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    send_hostile(client, 100, monkeypatch)


@pytest.mark.slow
def test_ten_thousand_hostile_messages_are_refused(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_hostile(client, 10_000, monkeypatch)


def test_huge_and_binary_messages_are_refused(client: Any) -> None:
    with connect(client) as tab:
        hear(tab, "welcome")
        tab.send_text(" " * (MOST_BYTES + 1))
        assert "at most" in hear(tab, "error")["text"]
        tab.send_bytes(b"{}")
        assert "not binary" in hear(tab, "error")["text"]


def raw(
    kind: int, data: bytes, *, first: int = 0x80, masked: bool = True, length: int = -1
) -> bytes:
    """A frame of the protocol as bytes, RFC 6455; what it says of itself need not be true."""
    n = len(data) if length < 0 else length
    size = (
        bytes([n]) if n < 126 else b"\x7e" + n.to_bytes(2) if n < 2**16 else b"\x7f" + n.to_bytes(8)
    )
    head = bytes([first | kind, (0x80 if masked else 0) | size[0]]) + size[1:]
    key = b"\1\2\3\4"
    return head + (key + bytes(c ^ key[i % 4] for i, c in enumerate(data)) if masked else data)


NO_FRAMES = {
    "unmasked": raw(1, b"{}", masked=False),
    "compressed": raw(1, zlib.compress(b" " * 10**6), first=0xC0),
    "reserved": raw(3, b"x"),
    "huge": raw(1, b"x", length=2**40),
    "in pieces": raw(1, b"a" * 99, first=0) + 999 * raw(0, b"a" * 99, first=0),
    "without a beginning": raw(0, b"x"),
    "no text": raw(1, b"\xff\xfe"),
    "a long ping": raw(9, b"a" * 126),
    "a bad end": raw(8, b"\x00\x01"),
    "no frame": bytes(range(255, 0, -1)) * 99,
}


def dialled(port: int) -> socket.socket:
    """A connection that has become one of messages, and offers compression."""
    made = socket.create_connection(("127.0.0.1", port), 30)
    made.sendall(
        f"GET /tab HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
    )
    told = b""
    while b"\r\n\r\n" not in told:
        told += made.recv(1)
    assert b"101 " in told
    assert b"deflate" not in told
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_is_no_frame_ends_its_connection_and_no_other() -> None:
    bound = server.listen(0)
    port = bound.getsockname()[1]
    running = server.server(port)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        with dialled(port) as other:
            for data in NO_FRAMES.values():
                with dialled(port) as tab, contextlib.suppress(ConnectionError):
                    tab.sendall(data)
                    while tab.recv(2**16):
                        pass
            for count in range(1, 20):
                with dialled(port) as tab:
                    tab.sendall(raw(1, b'{"kind": "open", "query": "", "serial": 1}')[:count])
            other.sendall(raw(1, b'{"kind": "open", "query": "", "serial": 7}'))
            heard = b""
            while b'"serial": 7' not in heard:
                heard += other.recv(2**16)
    finally:
        running.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


def read_on(tab: Any) -> None:
    """All that comes, until the connection is closed."""
    while True:
        tab.recv(60)


@pytest.mark.slow
def test_a_running_server_closes_on_what_is_huge_and_answers_others() -> None:
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect as dial

    bound = server.listen(0)
    port = bound.getsockname()[1]
    running = server.server(port)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
    thread.start()
    address, home = f"ws://127.0.0.1:{port}/tab", f"http://127.0.0.1:{port}"
    try:
        for huge in ("x" * 2**20, b"x" * 2**20):
            with dial(address, origin=home) as tab:  # type: ignore[arg-type]
                assert json.loads(tab.recv())["kind"] == "welcome"
                tab.send(huge)
                with pytest.raises(ConnectionClosed):
                    read_on(tab)
        for origin in (None, "http://evil.example"):
            with pytest.raises(InvalidStatus), dial(address, origin=origin):  # type: ignore[arg-type]
                pass
        with dial(address, origin=home) as tab:  # type: ignore[arg-type]
            tab.send(json.dumps({"kind": "open", "query": "batch=3", "serial": 1}))
            while json.loads(tab.recv()).get("serial") != 1:
                pass
    finally:
        running.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


class TestCommand:
    def test_a_port_that_is_taken_is_told(self, capsys: Any) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert main(["playground", "--no-browser", "--port", str(port)]) == 2
        assert "use another, or 0" in capsys.readouterr().err
        assert main(["playground", "--port", "70000"]) == 2

    def test_missing_packages_are_named(self, monkeypatch: Any, capsys: Any) -> None:
        import importlib.util

        found = importlib.util.find_spec
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: None if name == "uvicorn" else found(name)
        )
        assert main(["playground"]) == 2
        assert 'uvicorn not found; run: pip install -e ".[playground]"' in capsys.readouterr().err
