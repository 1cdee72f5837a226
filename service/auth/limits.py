"""How many requests one caller may make. Counted in this process, or in Redis for several."""

import ipaddress
import logging
import math
import time

import limits
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from service.errors import TooManyRequestsError

_log = logging.getLogger(__name__)

# Redis that hangs must not hang every request.
_STORE_TIMEOUT_S = 0.5
_STORE_RETRY_S = 5.0


class Limit:
    """So many per time for each caller, over a sliding window.

    Args:
        name: tells this limit's counters from others in the same store.
        rate: like ``30/minute``; empty: no limit.
        store: ``redis://...`` where several processes count together; empty: each its own.
    """

    def __init__(self, name: str, rate: str, store: str = "") -> None:
        self._name = name
        self._rate = limits.parse(rate) if rate else None
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared = SlidingWindowCounterRateLimiter(_open(store)) if store else None
        self._shared_again_at = 0.0

    @property
    def waits(self) -> bool:
        """Whether ``consume`` may wait for a network: then it is not for the event loop."""
        return self._shared is not None and self._rate is not None

    def consume(self, caller: str) -> None:
        """Count one.

        Raises:
            TooManyRequestsError: there is none left; says for how long.
        """
        if self._rate is None:
            return
        if self._shared is not None and time.monotonic() >= self._shared_again_at:
            try:
                self._count(self._shared, self._rate, caller)
            except StorageError as error:
                # Counting here alone is better than no limit, and much better than no service.
                self._shared_again_at = time.monotonic() + _STORE_RETRY_S
                _log.warning("could not reach the store of rate limits: %s", error.storage_error)
            else:
                return
        self._count(self._own, self._rate, caller)

    def _count(
        self, counter: SlidingWindowCounterRateLimiter, rate: limits.RateLimitItem, caller: str
    ) -> None:
        if counter.hit(rate, self._name, caller):
            return
        free_at = counter.get_window_stats(rate, self._name, caller).reset_time
        wait_s = max(1, math.ceil(free_at - time.time()))
        raise TooManyRequestsError(
            f"more than {rate}: wait {wait_s} second{'s' * (wait_s > 1)} and try again", wait_s
        )


def caller_at(address: str) -> str:
    """Who is counted by an address: behind IPv6 each has a whole /64 to choose from."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _open(url: str) -> Storage:
    store = storage_from_string(
        url,
        wrap_exceptions=True,
        socket_timeout=_STORE_TIMEOUT_S,
        socket_connect_timeout=_STORE_TIMEOUT_S,
    )
    assert isinstance(store, Storage)
    return store
