"""Image sources, which memory modes read in rectangles: the image need not exist as a whole."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from wsi.errors import ConfigError
from wsi.streaming.threads import single_threaded_executor


@dataclass(frozen=True, slots=True)
class Rect:
    """Rows [y0, y1) and columns [x0, x1) of some grid."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def area(self) -> int:
        """Positions."""
        return self.height * self.width

    def relative_to(self, y: int, x: int) -> tuple[slice, slice]:
        """This rectangle's rows and columns in an array whose first position is (y, x)."""
        return slice(self.y0 - y, self.y1 - y), slice(self.x0 - x, self.x1 - x)


class ImageSource(Protocol):
    """An image of any size, read in rectangles of pixels.

    Reads may come from a thread other than the caller's, one at a time. The same rectangle may be
    read twice and must give the same pixels, so a random augmentation is drawn once per source and
    applied to every rectangle.
    """

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    @property
    def batch(self) -> int:
        """N, images of the same size that are read together; 1 for a slide."""
        ...

    def read(self, y0: int, x0: int, height: int, width: int) -> Tensor:
        """(N, 3, height, width), floating point, normalized; always inside the image."""
        ...


@runtime_checkable
class BackgroundSource(Protocol):
    """An ImageSource that knows where the image is one constant colour, the same everywhere.

    A structural protocol: a source with this method qualifies, without subclassing.
    """

    def background(self, y0: int, x0: int, height: int, width: int) -> bool:
        """Whether every pixel of the rectangle has the background colour."""
        ...


class TensorSource:
    """An image in memory, as one tensor (N, 3, H, W).

    Args:
        image: the pixels.
        background_colour: (3,) or (N, 3, 1, 1) tensor; rectangles of this
            colour alone are background. ``None``: no background is known.
    """

    def __init__(self, image: Tensor, background_colour: Tensor | None = None) -> None:
        if image.ndim != 4:
            raise ConfigError(f"an image batch has four axes (N, 3, H, W), got {image.ndim}")
        self.image = image
        self._colour = (
            None
            if background_colour is None
            else background_colour.reshape(-1, image.shape[1], 1, 1)
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[2], self.image.shape[3]

    @property
    def batch(self) -> int:
        """N."""
        return self.image.shape[0]

    def read(self, y0: int, x0: int, height: int, width: int) -> Tensor:
        """A view of the rectangle: (N, 3, height, width)."""
        return self.image[:, :, y0 : y0 + height, x0 : x0 + width]

    def background(self, y0: int, x0: int, height: int, width: int) -> bool:
        """Whether the rectangle holds the background colour alone."""
        if self._colour is None:
            return False
        return bool((self.read(y0, x0, height, width) == self._colour).all())


TILES_READ = 3
"""Most tiles of ``read_ahead`` in memory: the caller's, the next, and one being decoded."""


def read_ahead(source: ImageSource, rects: Iterable[Rect], depth: int = 1) -> Iterator[Tensor]:
    """Prefetch rectangles in order: one thread decodes up to ``depth`` ahead of the caller.

    An error in ``read`` is raised when its rectangle is due. Leaving the loop early stops the
    thread.
    """
    queue = iter(rects)
    stop = threading.Event()

    def read(rect: Rect) -> Tensor | None:
        if stop.is_set():
            return None
        return source.read(rect.y0, rect.x0, rect.height, rect.width)

    with single_threaded_executor("read-ahead") as pool:
        waiting: list[Future[Tensor | None]] = []

        def first() -> Tensor:
            pixels = waiting.pop(0).result()
            assert pixels is not None
            return pixels

        # No name here refers to what is yielded: the caller alone decides how long it lives.
        try:
            for rect in queue:
                waiting.append(pool.submit(read, rect))
                if len(waiting) > depth:
                    yield first()
            while waiting:
                yield first()
        finally:
            stop.set()
