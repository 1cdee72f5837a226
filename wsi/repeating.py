"""A background thread that calls one function again and again."""

import logging
import threading
from collections.abc import Callable

from wsi.errors import JobStoreUnavailableError

_log = logging.getLogger(__name__)


class RepeatingThread:
    """Calls a function at an interval until closed; no error of it ends the thread.

    An outage of database or broker is logged when it begins and when it ends.

    Args:
        name: of the thread, for logs.
        interval_s: seconds between two calls.
    """

    def __init__(self, name: str, interval_s: float) -> None:
        self._name = name
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._outage = False

    @property
    def closing(self) -> bool:
        """Whether the thread is to end."""
        return self._closing.is_set()

    def start(self, step: Callable[[], bool | None], *, wait_first: bool = False) -> None:
        """Start the thread.

        Args:
            step: does one thing; returns whether to call it again at once.
            wait_first: let the interval pass before the first call.
        """
        self._thread = threading.Thread(
            target=self._run, args=(step, wait_first), name=self._name, daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        """There is something to do: do not wait for the interval to end."""
        self._wake.set()

    def close(self, timeout_s: float | None = None) -> None:
        """End the thread after its current call, and wait for that, at most this long."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, step: Callable[[], bool | None], wait_first: bool) -> None:
        if wait_first:
            self._wake.wait(self._interval_s)
        while not self.closing:
            self._wake.clear()
            # Closed just now: the event that was cleared may have been that of close().
            if self.closing:
                return
            if not self._call(step):
                self._wake.wait(self._interval_s)

    def _call(self, step: Callable[[], bool | None]) -> bool:
        try:
            more = bool(step())
        except JobStoreUnavailableError as error:
            if not self._outage:
                _log.warning("%s is waiting: %s", self._name, error)
            self._outage = True
            return False
        except Exception:  # noqa: BLE001 - the thread must outlive a bug; it is logged
            _log.exception("a run of %s failed", self._name)
            return False
        if self._outage:
            _log.info("%s: database and broker answer again", self._name)
        self._outage = False
        return more
