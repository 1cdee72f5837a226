"""Server-sent events about something that is looked at again and again until it has ended."""

from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import anyio
import anyio.to_thread
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

POLL_INTERVAL_S = 0.4
_KEEPALIVE_POLLS = 30

_Shown = TypeVar("_Shown", bound=BaseModel)


class EventStream(Generic[_Shown]):
    """What to watch: ``poll`` gives what is shown now, and whether it is the last."""

    def __init__(self, name: str, poll: Callable[[], tuple[_Shown, bool]]) -> None:
        self._name = name
        self._poll = poll

    async def response(self) -> StreamingResponse:
        """The stream. The first poll happens before it starts, so its errors have a status."""
        first = await anyio.to_thread.run_sync(self._poll)
        return StreamingResponse(
            self._events(first),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    async def _events(self, now: tuple[_Shown, bool]) -> AsyncIterator[str]:
        quiet = 0
        before: _Shown | None = None
        while True:
            shown, last = now
            if shown != before:
                quiet = 0
                yield f"event: {self._name}\ndata: {shown.model_dump_json()}\n\n"
            elif (quiet := quiet + 1) % _KEEPALIVE_POLLS == 0:
                # A comment: keeps proxies from closing a quiet connection.
                yield ": keep-alive\n\n"
            before = shown
            if last:
                return
            await anyio.sleep(POLL_INTERVAL_S)
            now = await anyio.to_thread.run_sync(self._poll)
