"""Lets the commands of a shell reach the running mesh, over a Unix socket in its folder."""

from __future__ import annotations

import contextlib
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from socket import recv_fds
from socket import socket as Connection

from lab import curl, dig, istioctl, kubectl
from lab.call import Call
from lab.errors import LabError
from lab.mesh import Mesh

_COMMANDS: dict[str, Callable[[Mesh, Call], int]] = {
    "kubectl": kubectl.run,
    "istioctl": istioctl.run,
    "curl": curl.run,
    "dig": dig.run,
}


@dataclass
class Server:
    """Answers calls. `failures` collects what the lab itself could not do, in order."""

    mesh: Mesh
    failures: list[LabError]

    @property
    def commands(self) -> Path:
        """A folder with the commands, for a shell's PATH."""
        return self.mesh.folder / "bin"

    @property
    def socket(self) -> Path:
        return self.mesh.folder / "socket"

    def answer(self, connection: Connection) -> None:
        """Runs one call to its end."""
        try:
            _, fds, _, _ = recv_fds(connection, 1, 3)
            words = b"".join(iter(lambda: connection.recv(65536), b"")).decode().split("\0")
        except OSError:
            return
        if len(fds) < 3:  # a caller that was interrupted before it said anything
            return
        with (
            FileIO(fds[0], "rb") as stdin,
            FileIO(fds[1], "wb") as stdout,
            FileIO(fds[2], "wb") as stderr,
        ):
            if len(words) < 2:
                return
            name, cwd, *args = words
            call = Call(args, Path(cwd), stdin, stdout, stderr, connection)
            try:
                code = _COMMANDS[name](self.mesh, call)
            except LabError as error:
                self.failures.append(error)
                call.error(f"lab: {error}")
                code = 1
            except BrokenPipeError:
                code = 141
            except Exception as error:  # which nobody foresaw; it must not pass for an output
                cause = f"the lab cannot play: {name} {' '.join(args)}"
                self.failures.append(LabError(f"{cause} ({type(error).__name__}: {error})"))
                call.error(f"lab: {self.failures[-1]}")
                code = 1
        with contextlib.suppress(OSError):
            connection.sendall(str(code).encode())


@contextlib.contextmanager
def serve(mesh: Mesh) -> Iterator[Server]:
    """Runs a server for a mesh while the block runs."""
    server = Server(mesh, [])
    _write_commands(server.commands)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            server.answer(self.request)

    class Listener(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        block_on_close = False

    with Listener(str(server.socket), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()


def _write_commands(folder: Path) -> None:
    folder.mkdir()
    source = Path(__file__).with_name("client.py").read_text()
    for name in _COMMANDS:
        path = folder / name
        # -I and -S leave out the site packages: a tenth of a second less for every command.
        path.write_text(f"#!{sys.executable} -IS\n{source}")
        path.chmod(0o755)
