"""Server-sent events about jobs and batches: one event at each change, until it has ended."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Generic, TypeVar

import anyio
import anyio.to_thread
from fastapi.sse import ServerSentEvent
from pydantic import BaseModel

from service.errors import NotFoundError

POLL_INTERVAL_S = 0.4

_Shown = TypeVar("_Shown", bound=BaseModel)


class EventStream(Generic[_Shown]):
    """Follows all that is watched with one query per interval, however many watch.

    Args:
        name: of the events.
        read: the present state of each of these ids, and whether it is final; without those that
            do not exist.
    """

    def __init__(
        self, name: str, read: Callable[[Sequence[str]], Mapping[str, tuple[_Shown, bool]]]
    ) -> None:
        self._name = name
        self._read = read
        self._watched: Counter[str] = Counter()
        self._found: Mapping[str, tuple[_Shown, bool]] = {}
        self._read_at = float("-inf")
        self._lock = anyio.Lock()

    async def open(self, id: str) -> AsyncIterator[ServerSentEvent]:
        """The events of one id. The first read happens here, so that its errors have a status.

        Raises:
            NotFoundError: there is nothing with this id.
        """
        first = await self._state(id)
        if first is None:
            raise NotFoundError(f"no {self._name} {id}")
        return self._events(id, first)

    async def _events(self, id: str, state: tuple[_Shown, bool]) -> AsyncIterator[ServerSentEvent]:
        self._watched[id] += 1
        try:
            before: _Shown | None = None
            now: tuple[_Shown, bool] | None = state
            while now is not None:
                shown, is_final = now
                if shown != before:
                    yield ServerSentEvent(event=self._name, raw_data=shown.model_dump_json())
                if is_final:
                    return
                before = shown
                await anyio.sleep(POLL_INTERVAL_S)
                now = await self._state(id)
        finally:
            self._watched -= Counter([id])

    async def _state(self, id: str) -> tuple[_Shown, bool] | None:
        """The state of one id, no older than the interval."""
        async with self._lock:
            is_old = time.monotonic() - self._read_at >= POLL_INTERVAL_S
            if is_old or id not in self._found:
                ids = sorted({id, *self._watched})
                self._found = await anyio.to_thread.run_sync(self._read, ids)
                self._read_at = time.monotonic()
            return self._found.get(id)
