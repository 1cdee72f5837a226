"""A TCP proxy that can be cut: how a server that stops and starts looks to its clients."""

import socket
import threading
import time
from types import TracebackType
from typing import Self


class Proxy:
    """Forwards to ``target`` from a port of its own, until cut.

    Args:
        target: host and port.
        pause_s: wait so long after each 64 KiB, which makes a slow line.
    """

    def __init__(self, target: tuple[str, int], pause_s: float = 0.0) -> None:
        self._target = target
        self._pause_s = pause_s
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cut = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        with self._lock:
            self._cut = True
            for side in self._open:
                _shut(side)

    def mend(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._cut = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _shut(self._server)
        self.cut()
        for thread in self._threads:
            thread.join(10)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                if self._cut:
                    client.close()
                    continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                # Nobody listens there at present.
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            pair = threading.Thread(target=self._serve, args=(client, server), daemon=True)
            self._threads.append(pair)
            pair.start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=_pump, args=(server, client, 0.0), daemon=True)
        back.start()
        _pump(client, server, self._pause_s)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()


def _pump(source: socket.socket, sink: socket.socket, pause_s: float) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
            time.sleep(pause_s)
    except OSError:
        # Cut: both sides are told below.
        pass
    _shut(source)
    _shut(sink)


def _shut(side: socket.socket) -> None:
    try:
        side.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It was shut from the other end already.
        return
