"""Reading on a thread, a few items ahead of the consumer."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from wsi.streaming.threads import single_threaded_executor

T = TypeVar("T")
U = TypeVar("U")


def read_ahead(items: Sequence[T], read: Callable[[T], U], *, ahead: int = 2) -> Iterator[U]:
    """``read`` of each item in order, on a thread, a few items ahead of the consumer."""
    with single_threaded_executor("read-ahead") as pool:
        waiting = [pool.submit(read, item) for item in items[:ahead]]
        try:
            for index in range(len(items)):
                value = waiting.pop(0).result()
                if index + ahead < len(items):
                    waiting.append(pool.submit(read, items[index + ahead]))
                yield value
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
