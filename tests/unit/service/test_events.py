"""Streams of events: what watchers see, and what they cost."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from pydantic import BaseModel

from service.errors import NotFoundError
from service.events import EventStream

WATCHERS = 20


class State(BaseModel):
    id: str
    number: int


def test_many_watchers_see_every_change_and_share_the_queries() -> None:
    # At the real interval: on a loaded machine a shorter one is over before the others have looked.
    asked: list[Sequence[str]] = []

    def read(ids: Sequence[str]) -> dict[str, tuple[State, bool]]:
        asked.append(ids)
        number = min(len(asked) - 1, 3)
        return {id: (State(id=id, number=number), number == 3) for id in ids if id != "gone"}

    stream = EventStream("job", read)
    seen: list[list[int]] = []

    async def watch(id: str) -> None:
        texts = [str(event.raw_data) async for event in await stream.open(id)]
        states = [State.model_validate_json(text) for text in texts]
        assert {state.id for state in states} == {id}
        seen.append([state.number for state in states])

    async def all_of_them() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(WATCHERS):
                tasks.start_soon(watch, "ab"[number % 2])
        with pytest.raises(NotFoundError):
            await stream.open("gone")

    # A thread of its own: the browser tests' library keeps an event loop in the main one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(anyio.run, all_of_them).result()
    assert len(seen) == WATCHERS
    assert all(numbers == sorted(set(numbers)) for numbers in seen), "only changes, in order"
    assert all(numbers[-1] == 3 for numbers in seen), "to the end"
    assert len(asked) < WATCHERS, "not a query per watcher"
    assert asked[-1] == ["gone"], "what nobody watches any more is not asked for"
