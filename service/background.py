"""A thread that does what has to be done in the background, again and again."""

import logging
import threading
from collections.abc import Callable

from wsi.errors import JobStoreUnavailableError

_log = logging.getLogger(__name__)

_CLOSE_S = 15.0


class Loop:
    """Runs until closed.

    Args:
        name: of the thread.
        every_s: seconds between two runs when there is nothing to do.
    """

    def __init__(self, name: str, every_s: float) -> None:
        self._name = name
        self._every_s = every_s
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self, step: Callable[[], bool]) -> None:
        """Start the thread. ``step`` does one thing and says whether there was one."""
        self._thread = threading.Thread(
            target=self._run, args=(step,), name=self._name, daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        """There is something to do: do not wait for the interval to end."""
        self._wake.set()

    def close(self) -> None:
        """Stop after the current step. What is left is in the database."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _run(self, step: Callable[[], bool]) -> None:
        while not self._stopping:
            self._wake.clear()
            more = False
            try:
                more = step()
            except JobStoreUnavailableError as error:
                _log.warning("%s is waiting: %s", self._name, error)
            except Exception:  # noqa: BLE001 - the thread must outlive a bug; it is logged
                _log.exception("a run of %s failed", self._name)
            if not more:
                self._wake.wait(self._every_s)
