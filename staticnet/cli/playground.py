"""`staticnet playground`: a small network in the browser, trained live by a compiled step."""

from __future__ import annotations

import argparse
import contextlib
import threading
import webbrowser
from typing import Any

from staticnet.backends.base import choose
from staticnet.cli.extras import require
from staticnet.errors import ArgumentError
from staticnet.function import BACKENDS

PORT = 8731


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser(
        "playground", help="a small network in the browser, trained live by a compiled step"
    )
    parser.add_argument("--port", type=int, default=PORT, help="0 is any (%(default)s)")
    parser.add_argument("--device", default="auto", help="of the step: cpu, numpy or cuda (a CPU)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Serve on the loopback until Ctrl-C.

    Raises:
        DependencyError: if the server's packages are missing; names the command that installs them.
        ArgumentError: if the port is none, or is taken, or the device is unknown.
        DeviceError: if the device is not there.
    """
    if not 0 <= options.port < 65536:
        raise ArgumentError(f"--port {options.port}: use a number from 0 to 65535")
    if options.device != "auto":
        choose(options.device, BACKENDS)
    require("starlette", "uvicorn", "websockets", extra="playground")
    from staticnet.playground.server import listen, server

    try:
        bound = listen(options.port)
    except OSError as error:
        raise ArgumentError(
            f"--port {options.port}: {error.strerror}; use another, or 0 for any that is free"
        ) from None
    port = bound.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    print(f"the playground is at {address}; Ctrl-C ends it", flush=True)
    if not options.no_browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    with contextlib.suppress(KeyboardInterrupt):
        server(port, options.device).run(sockets=[bound])
