"""A few slides kept open, since opening one costs more than reading a tile of it."""

import threading
from collections import OrderedDict

from service.slides.repository import StoredSlide
from wsi.slides import SlideReader, open_slide


class OpenSlides:
    """Least recently used slides are let go.

    A slide that is let go is not closed here, as a request may be reading it: its last reference
    closes it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._readers: OrderedDict[tuple[str, float | None], SlideReader] = OrderedDict()

    def get(self, slide: StoredSlide) -> SlideReader:
        """An open reader, safe to share between threads. Raises ``SlideError``."""
        key = (slide.id, slide.given_mpp)
        with self._lock:
            reader = self._readers.get(key)
            if reader is not None:
                self._readers.move_to_end(key)
                return reader
        # Outside the lock: a slow share must not stop the tiles of other slides.
        reader = open_slide(slide.file, mpp=slide.given_mpp, name=slide.name)
        with self._lock:
            reader = self._readers.setdefault(key, reader)
            while len(self._readers) > self._capacity:
                self._readers.popitem(last=False)
            return reader

    def forget(self, slide_id: str) -> None:
        """Let one slide go."""
        with self._lock:
            for key in [key for key in self._readers if key[0] == slide_id]:
                del self._readers[key]

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._readers.clear()
