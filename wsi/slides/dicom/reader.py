"""Reading the chosen instances of a DICOM slide through OpenSlide, and nothing that lies beside.

OpenSlide joins whatever instances of one series lie in one folder. Where that is more, or lies in
several folders, it is given a folder of links to the chosen ones.
"""

import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openslide
from numpy.typing import NDArray

from wsi.errors import DamagedSlideError, SlideError, UnsupportedSlideError
from wsi.slides.dicom.content import picture_of
from wsi.slides.dicom.frames import stored_tiles
from wsi.slides.dicom.headers import Instance
from wsi.slides.dicom.pyramid import Chosen, Picture, choose, level_name
from wsi.slides.folder import instances_beside
from wsi.slides.openslide_reader import OpenSlideReader
from wsi.slides.reader import RGB
from wsi.slides.resample import ReadLevel
from wsi.slides.tiff_levels import TrueLevel, true_levels

_WHITE = 255
_MOST_REMEMBERED = 1024
_judged: dict[object, "Judgement"] = {}
_lock = threading.Lock()
Judgement: TypeAlias = tuple[tuple[TrueLevel, ...], tuple[str, ...]]
_READING = re.compile(r"^Reading .*?: (?=libdicom |[A-Z])")


class DicomReader(OpenSlideReader):
    """A SlideReader over one pyramid of a series.

    Tiles that the scanner left out of the finest level (TILED_SPARSE) are glass on every level.

    Args:
        path: the slide's entry file.
        picture: its instances.
        name: how messages call the slide.
        mpp: micrometres per pixel that the user gave.
        warnings: what the caller has to say about opening it.
        thorough: compare levels at many more places.
        force_mpp: ``mpp`` counts against what the file states.

    Attributes:
        chosen: the instances that are read.

    Raises:
        UnsupportedSlideError: it is stored in a way that is not read.
        DamagedSlideError: files or frames are missing, or a file is broken.
        MppError: ``mpp`` contradicts what the file states, and is not forced.
    """

    def __init__(
        self,
        path: Path,
        picture: Picture,
        name: str,
        mpp: float | None = None,
        warnings: tuple[str, ...] = (),
        *,
        thorough: bool = False,
        force_mpp: bool = False,
    ) -> None:
        chosen = choose(picture, name)
        stored = {level: stored_tiles(level, name) for level in chosen.levels}
        chosen, missing = _without_gaps(chosen, stored)
        self._missing = missing
        self._tile = (chosen.base.tile_columns, chosen.base.tile_rows)
        told = (*warnings, *chosen.warnings, *_told(missing))
        file, links = _openable(chosen)
        # Also where nobody closes it: who lets go of a reader may have other threads inside.
        self._remove_links = weakref.finalize(self, _remove, links)
        try:
            super().__init__(file, name, mpp, told, force_mpp=force_mpp)
            self.chosen = self._with_true_levels(chosen, stored, thorough)
        except openslide.OpenSlideError as error:
            self._remove_links()
            raise refusal(error, name) from error
        except BaseException:
            self._remove_links()
            raise
        self._entry = path

    @property
    def path(self) -> Path:
        return self._entry

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RGB:
        """See ``OpenSlideReader``; what the finest level does not store is white on all."""
        return self._with_gaps(level, (x, y, width, height), super().read_level)

    def _with_gaps(self, level: int, box: tuple[int, int, int, int], read: ReadLevel) -> RGB:
        x, y, width, height = box
        pixels = read(level, x, y, width, height)
        if self._missing is None or level == 0:
            return pixels
        downsample = self._levels[level].downsample
        across = _tiles_at(x, width, downsample, self._tile[0], self._missing.shape[1])
        down = _tiles_at(y, height, downsample, self._tile[1], self._missing.shape[0])
        blank = self._missing[np.ix_(down, across)]
        if not blank.any():
            return pixels
        pixels = pixels.copy()
        pixels[blank] = _WHITE
        return pixels

    def _with_true_levels(
        self,
        chosen: Chosen,
        stored: Mapping[tuple[Instance, ...], NDArray[np.bool_] | None],
        thorough: bool,
    ) -> Chosen:
        """Keep the levels that show, where it is looked at, what the slide shows there."""
        if len(chosen.levels) == 1:
            return chosen
        numbers = {(one.size.width, one.size.height): n for n, one in enumerate(self._levels)}
        pictures = [
            picture_of(level, numbers[level[0].columns, level[0].rows], stored[level])
            for level in chosen.levels
        ]

        def read(level: int, x: int, y: int, width: int, height: int) -> RGB:
            return self._with_gaps(level, (x, y, width, height), self.glance)

        state = tuple((str(file), file.stat().st_mtime_ns) for file in chosen.files)
        judged, left_out = _remembered(
            (thorough, state), lambda: true_levels(pictures, read, thorough=thorough)
        )
        kept = [one.picture.number for one in judged]
        self.keep(kept, [one.level for one in judged], left_out)
        levels = [
            level
            for level, picture in zip(chosen.levels, pictures, strict=True)
            if picture.number in kept
        ]
        return Chosen(tuple(levels), chosen.associated, (*chosen.warnings, *left_out))

    def close(self) -> None:
        super().close()
        self._remove_links()


def refusal(error: openslide.OpenSlideError, name: str) -> SlideError:
    """What OpenSlide says of a DICOM file, without the place where it lies."""
    reason = _READING.sub("", str(error))
    broken = "libdicom" in reason and "missing tag" not in reason.lower()
    if broken:
        return DamagedSlideError(name, f"it cannot be read as DICOM: {reason}")
    return UnsupportedSlideError(
        name, f"it is stored in a way that is not read: {reason}; convert it to a pyramidal TIFF"
    )


def _openable(chosen: Chosen) -> tuple[Path, Path | None]:
    """A file whose folder holds, of its series, the chosen instances and nothing else.

    That folder comes with it where it was made here, of links.
    """
    files = {file.absolute() for file in chosen.files}
    first = chosen.base.file
    if len({file.parent for file in files}) == 1:
        beside = {one.file for one in instances_beside(first.absolute(), of_its_series=True)}
        if beside == files and not first.suffix.lower().startswith(".tif"):
            return first, None
    folder = Path(tempfile.mkdtemp(prefix="wsi-dicom-"))
    for number, file in enumerate(chosen.files):
        (folder / f"{number}.dcm").symlink_to(file.absolute())
    return folder / "0.dcm", folder


def _remembered(key: object, judge: Callable[[], Judgement]) -> Judgement:
    """What was found before of the same files in the same state: a service opens a slide often."""
    with _lock:
        known = _judged.get(key)
    if known is None:
        known = judge()
        with _lock:
            _judged[key] = known
            while len(_judged) > _MOST_REMEMBERED:
                _judged.pop(next(iter(_judged)))
    return known


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _without_gaps(
    chosen: Chosen, stored: Mapping[tuple[Instance, ...], NDArray[np.bool_] | None]
) -> tuple[Chosen, NDArray[np.bool_] | None]:
    """Leave out coarse levels that lack tiles which the finest has; its own gaps are returned."""
    base = stored[chosen.levels[0]]
    kept, told = [], list(chosen.warnings)
    for level in chosen.levels:
        tiles = stored[level]
        if (
            level is not chosen.levels[0]
            and tiles is not None
            and _lacks(base, tiles, chosen, level)
        ):
            told.append(f"{level_name(level[0])} is left out: some of its tiles are not stored")
        else:
            kept.append(level)
    gaps = None if base is None or base.all() else ~base
    return Chosen(tuple(kept), chosen.associated, tuple(told)), gaps


def _lacks(
    base: NDArray[np.bool_] | None,
    tiles: NDArray[np.bool_],
    chosen: Chosen,
    level: tuple[Instance, ...],
) -> bool:
    """Whether a tile that is missing on a level covers the centre of one that the finest stores."""
    finest, coarse = chosen.base, level[0]
    if base is None:
        return not tiles.all()
    rows, columns = np.nonzero(base)
    x = (columns + 0.5) * finest.tile_columns * coarse.columns / finest.columns
    y = (rows + 0.5) * finest.tile_rows * coarse.rows / finest.rows
    at_x = np.minimum(x // coarse.tile_columns, tiles.shape[1] - 1).astype(int)
    at_y = np.minimum(y // coarse.tile_rows, tiles.shape[0] - 1).astype(int)
    return not bool(tiles[at_y, at_x].all())


def _told(missing: NDArray[np.bool_] | None) -> tuple[str, ...]:
    if missing is None:
        return ()
    return (
        f"{int(missing.sum())} of its {missing.size} tiles are not stored: they are read as glass",
    )


def _tiles_at(
    start: int, length: int, downsample: float, tile: int, count: int
) -> NDArray[np.int_]:
    """The column (or row) of the finest level's tiles under each pixel of a level."""
    pixels = (np.arange(start, start + length) + 0.5) * downsample
    tiles: NDArray[np.int_] = np.clip(pixels // tile, 0, count - 1).astype(int)
    return tiles
