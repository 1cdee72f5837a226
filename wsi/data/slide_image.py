"""A slide as an ImageSource: decoded, masked, augmented and normalized rectangle by rectangle."""

import math
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wsi.errors import ConfigError
from wsi.geometry import Region, Size
from wsi.slides import SlideReader, require_mpp
from wsi.slides.resolution import require_detail
from wsi.tissue import TissueMask

BLOCK_PX = 512
_CACHED_BLOCKS = 128
_DECODE_THREADS = 2
WHITE = 255


@dataclass(frozen=True, kw_only=True)
class SlideVariant:
    """One augmentation of a whole slide, drawn once and applied to every rectangle.

    Attributes:
        flip: mirror left and right, before turning.
        turns: quarter turns, counter-clockwise.
        colour_33: (3, 3) matrix on optical densities (row vectors), or ``None``; see
            ``wsi.data.augment``.
    """

    flip: bool = False
    turns: int = 0
    colour_33: NDArray[np.float32] | None = None


class SlideSource:
    """A slide drawn at one resolution, as pixels of any rectangle of it.

    The same pixel is the same in every rectangle that holds it: the slide is drawn in fixed
    blocks, and rectangles are put together from them. What is not tissue is constant white, so
    memory modes may compute it once.

    Args:
        slide: an open slide.
        mpp: micrometres per pixel to draw it at.
        tissue: its mask; ``None`` leaves the glass as scanned.
        mean, std: normalization of RGB in [0, 1].
        variant: an augmentation.

    Raises:
        MppError: the slide states no usable resolution, or is too coarse for ``mpp``.
    """

    batch = 1

    def __init__(
        self,
        slide: SlideReader,
        mpp: float,
        *,
        tissue: TissueMask | None,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        variant: SlideVariant | None = None,
    ) -> None:
        base = require_mpp(slide)
        require_detail(slide.name, base, mpp, "the network's input")
        self._slide = slide
        self.mpp = mpp
        #: level-0 pixels along one pixel of this source
        self.scale = (mpp / base.x, mpp / base.y)
        self._drawn = (
            max(1, math.ceil(slide.size.height / self.scale[1] - 0.01)),
            max(1, math.ceil(slide.size.width / self.scale[0] - 0.01)),
        )
        self._tissue = tissue
        self._mean = torch.tensor(mean).view(1, 3, 1, 1)
        self._std = torch.tensor(std).view(1, 3, 1, 1)
        self._variant = variant or SlideVariant()
        self._blocks: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, after turning."""
        height, width = self._drawn
        return (width, height) if self._variant.turns % 2 else (height, width)

    @property
    def tissue_share(self) -> float:
        """Share of it that is tissue; all of it where no mask was given."""
        return 1.0 if self._tissue is None else float(self._tissue.mask.mean())

    def read(self, y0: int, x0: int, height: int, width: int) -> torch.Tensor:
        """(1, 3, height, width) float32, normalized."""
        top, left, h, w = self._unturned(y0, x0, height, width)
        pixels = self._assemble(top, left, h, w)
        if self._variant.flip:
            pixels = pixels[:, ::-1]
        # Into new memory: torch refuses the negative strides of what is flipped.
        pixels_f32 = np.rot90(pixels, self._variant.turns).astype(np.float32, order="C")
        image = torch.from_numpy(pixels_f32).permute(2, 0, 1)[None] / 255
        if self._variant.colour_33 is not None:
            matrix = torch.from_numpy(self._variant.colour_33)
            density = -torch.log(image.clamp_min(1 / 255))
            image = torch.exp(-torch.einsum("nchw,cd->ndhw", density, matrix)).clamp(0, 1)
        return (image - self._mean) / self._std

    def background(self, y0: int, x0: int, height: int, width: int) -> bool:
        """Whether the rectangle holds no tissue, so that all of it is white."""
        if self._tissue is None:
            return False
        return not self._tissue_in(*self._unturned(y0, x0, height, width)).any()

    def _unturned(self, y0: int, x0: int, height: int, width: int) -> tuple[int, int, int, int]:
        """A rectangle of the turned and flipped slide as (y, x, h, w) of the slide as scanned."""
        turned_h, turned_w = self.size
        for _ in range(self._variant.turns % 4):
            # Undo one counter-clockwise turn: (row r, column c) came from (c, H - 1 - r).
            y0, x0, height, width = x0, turned_h - y0 - height, width, height
            turned_h, turned_w = turned_w, turned_h
        if self._variant.flip:
            x0 = turned_w - x0 - width
        return y0, x0, height, width

    def _assemble(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        out = np.empty((height, width, 3), np.uint8)
        rows = range(y0 // BLOCK_PX, -(-(y0 + height) // BLOCK_PX))
        columns = range(x0 // BLOCK_PX, -(-(x0 + width) // BLOCK_PX))
        keys = [(row, column) for row in rows for column in columns]
        for (row, column), block in zip(keys, self._get_blocks(keys), strict=True):
            top, left = row * BLOCK_PX, column * BLOCK_PX
            y_from, x_from = max(y0, top), max(x0, left)
            y_to = min(y0 + height, top + block.shape[0])
            x_to = min(x0 + width, left + block.shape[1])
            out[y_from - y0 : y_to - y0, x_from - x0 : x_to - x0] = block[
                y_from - top : y_to - top, x_from - left : x_to - left
            ]
        return out

    def _get_blocks(self, keys: list[tuple[int, int]]) -> list[NDArray[np.uint8]]:
        missing = [key for key in keys if key not in self._blocks]
        if missing:
            with ThreadPoolExecutor(_DECODE_THREADS) as pool:
                self._blocks.update(zip(missing, pool.map(self._draw, missing), strict=True))
        blocks = []
        for key in keys:
            self._blocks.move_to_end(key)
            blocks.append(self._blocks[key])
        while len(self._blocks) > max(_CACHED_BLOCKS, len(keys)):
            self._blocks.popitem(last=False)
        return blocks

    def _draw(self, key: tuple[int, int]) -> NDArray[np.uint8]:
        """One block, white where there is no tissue."""
        top, left = key[0] * BLOCK_PX, key[1] * BLOCK_PX
        height = min(BLOCK_PX, self._drawn[0] - top)
        width = min(BLOCK_PX, self._drawn[1] - left)
        tissue = self._tissue_in(top, left, height, width)
        if not tissue.any():
            return np.full((height, width, 3), WHITE, np.uint8)
        region = Region(
            left * self.scale[0],
            top * self.scale[1],
            width * self.scale[0],
            height * self.scale[1],
        )
        pixels = self._slide.read_region(region, Size(width, height))
        return np.where(tissue[:, :, None], pixels, np.uint8(WHITE))

    def _tissue_in(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.bool_]:
        """(height, width) mask of a rectangle of the slide as scanned."""
        if self._tissue is None:
            return np.ones((height, width), bool)
        mask = self._tissue.mask
        cell_x, cell_y = self._tissue.cell_width_px, self._tissue.cell_height_px
        ys = ((np.arange(y0, y0 + height) + 0.5) * self.scale[1] / cell_y).astype(int)
        xs = ((np.arange(x0, x0 + width) + 0.5) * self.scale[0] / cell_x).astype(int)
        rows, columns = mask.shape
        return np.asarray(mask[np.ix_(ys.clip(0, rows - 1), xs.clip(0, columns - 1))])


def fitted_mpp(slide: SlideReader, longest_px: int) -> float:
    """The resolution at which the slide's longer side measures ``longest_px``, never finer than
    the slide itself.

    Raises:
        ConfigError: ``longest_px`` is not positive.
        MppError: the slide states no usable resolution.
    """
    if longest_px < 1:
        raise ConfigError(f"a fitted slide needs a positive size, got {longest_px} px")
    base = require_mpp(slide)
    longest_um = max(slide.size.width * base.x, slide.size.height * base.y)
    return max(base.mean, longest_um / longest_px)
