"""A TCP proxy in front of a local port, whose traffic a test can lose or refuse."""

from __future__ import annotations

import contextlib
import socket
import threading


class TcpProxy:
    """Forwards connections from `port` to `target_port`.

    While `blackholed` is set, bytes are discarded and connections stay open, as behind a blackholed route.
    """

    def __init__(self, target_port: int = 0) -> None:
        self.target_port = target_port
        self.blackholed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._refusing = threading.Event()
        self._connected: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self) -> None:
        """Break every open connection, and close new ones until `admit`."""
        self._refusing.set()
        for side in list(self._connected):
            with contextlib.suppress(OSError):  # Breaking one side may already have closed the other.
                side.shutdown(socket.SHUT_RDWR)

    def admit(self) -> None:
        self._refusing.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inbound, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing.is_set():
                inbound.close()
                continue
            outbound = socket.create_connection(("127.0.0.1", self.target_port))
            for pair in ((inbound, outbound), (outbound, inbound)):
                threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        self._connected.add(source)
        try:
            while data := source.recv(65536):
                if not self.blackholed.is_set():
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return
        finally:
            self._connected.discard(source)
