"""A few slides kept open, since opening one costs more than reading a tile of it."""

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from service.slides.repository import StoredSlide
from wsi.errors import SlideError, SlideUnavailableError
from wsi.slides import SlideReader, open_slide
from wsi.storage.slide_cache import SlideCache, is_object

IDLE_S = 60.0
"""A slide of object storage that nobody looks at for this long is let go."""

_FETCHING = 4
_PATIENCE_S = 2.0
_TRUSTED_S = 1.0


@dataclass
class _Open:
    reader: SlideReader
    is_copy: bool
    used_at: float
    checked_at: float


def _open(file: Path, slide: StoredSlide) -> SlideReader:
    # What was given was accepted when it was stored.
    return open_slide(file, mpp=slide.given_mpp, force_mpp=True, name=slide.name)


class OpenSlides:
    """Least recently used slides are let go.

    A slide that is let go is not closed here, as a request may be reading it: its last reference
    closes it, and with it goes the hold on its copy in the slide cache.

    Args:
        capacity: how many are kept open.
        cache: copies of slides in object storage.
        require_same: raises for a slide that is no longer what was registered.
    """

    def __init__(
        self,
        capacity: int,
        cache: SlideCache,
        require_same: Callable[[StoredSlide], None] = lambda slide: None,
    ) -> None:
        self._capacity = capacity
        self._cache = cache
        self._require_same = require_same
        self._lock = threading.Lock()
        # Fetching takes minutes, and threads of requests are few.
        self._fetching = threading.BoundedSemaphore(_FETCHING)
        self._open: OrderedDict[tuple[str, str, float | None], _Open] = OrderedDict()

    def get(self, slide: StoredSlide) -> SlideReader:
        """An open reader, safe to share between threads.

        Raises:
            ChangedSlideError: the slide was replaced where it lies; seen within a second.
            SlideError: it cannot be opened.
        """
        key = (slide.id, slide.path, slide.given_mpp)
        now = time.monotonic()
        with self._lock:
            known = self._open.get(key)
            if known is not None:
                known.used_at = now
                self._open.move_to_end(key)
                if now - known.checked_at < _TRUSTED_S:
                    return known.reader
        # Outside the lock: a slow share must not stop the tiles of other slides.
        try:
            self._require_same(slide)
        except SlideError:
            self.forget(slide.id)
            raise
        if known is not None:
            known.checked_at = now
            return known.reader
        reader = self._opened(slide)
        with self._lock:
            new = _Open(reader, is_object(slide.path), now, now)
            reader = self._open.setdefault(key, new).reader
            while len(self._open) > self._capacity:
                self._open.popitem(last=False)
            return reader

    def _opened(self, slide: StoredSlide) -> SlideReader:
        if not is_object(slide.path):
            return _open(slide.file, slide)
        if not self._fetching.acquire(timeout=_PATIENCE_S):
            raise SlideUnavailableError(slide.name, "too many slides are being fetched")
        try:
            with ExitStack() as held:
                file = held.enter_context(self._cache.local(slide.path))
                reader = _open(file, slide)
                weakref.finalize(reader, held.pop_all().close)
                return reader
        finally:
            self._fetching.release()

    def close_idle(self) -> bool:
        """Let go of copies that others may want the room of. Says whether there is more to do."""
        before = time.monotonic() - IDLE_S
        with self._lock:
            for key, known in list(self._open.items()):
                if known.is_copy and known.used_at < before:
                    del self._open[key]
        return False

    def forget(self, slide_id: str) -> None:
        """Let one slide go."""
        with self._lock:
            for key in [key for key in self._open if key[0] == slide_id]:
                del self._open[key]

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._open.clear()
