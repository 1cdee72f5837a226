"""Where training patches come from: ready images in a table, or annotated slides."""

import io
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsi.data.tables import Row
from wsi.errors import DatasetError


class PatchSource(Protocol):
    """Labelled patches that can be read in any order, from several threads.

    Pickled for worker processes: open files stay behind, each process opens its own.
    """

    labels_n: NDArray[np.int64]
    patients_n: NDArray[np.str_]
    #: paths of the slides that they are read from; none where they are files of their own
    slides: tuple[str, ...]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(N, side, side, 3) uint8 of these patches.

        Raises:
            DatasetError: one does not decode; names it.
        """
        ...

    def describe(self, index: int) -> str:
        """Where a patch comes from, for people."""
        ...


class TablePatches:
    """Patches that are image files, in a folder or in a zip.

    Args:
        rows: labelled rows of one split.
        root: the folder or zip that the rows' paths are relative to.
        size_px: side of a patch; others are resized to it.

    Raises:
        DatasetError: files that the table names are missing.
    """

    def __init__(self, rows: Sequence[Row], root: Path, size_px: int) -> None:
        self.rows = tuple(rows)
        self.labels_n = np.array([row.label for row in rows], np.int64)
        self.patients_n = np.array([row.patient for row in rows], np.str_)
        self.slides: tuple[str, ...] = ()
        self._size_px = size_px
        self._root = root
        self._open()
        self._check_presence()

    def _open(self) -> None:
        self._zip = zipfile.ZipFile(self._root) if zipfile.is_zipfile(self._root) else None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_zip", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _check_presence(self) -> None:
        if self._zip:
            there = set(self._zip.namelist())
            missing = [row.path for row in self.rows if row.path not in there]
        else:
            missing = [row.path for row in self.rows if not (self._root / row.path).is_file()]
        if missing:
            raise DatasetError(
                f"{self._root}: {len(missing)} of {len(self.rows)} patches are missing, "
                f"the first is {missing[0]}"
            )

    def _bytes(self, path: str) -> bytes:
        if not self._zip:
            return (self._root / path).read_bytes()
        with self._lock:  # one file position for all threads
            return self._zip.read(path)

    def _one(self, index: int) -> NDArray[np.uint8]:
        path = self.rows[index].path
        try:
            image = Image.open(io.BytesIO(self._bytes(path))).convert("RGB")
        except (OSError, UnidentifiedImageError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{self._root}: {path} does not decode: {error}") from error
        side = self._size_px
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(image)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([self._one(int(index)) for index in indices])

    def describe(self, index: int) -> str:
        row = self.rows[index]
        return f"{row.path} (patient {row.patient})"


class InMemory:
    """Another source, decoded once and kept: worth it where an epoch fits in memory."""

    def __init__(self, source: PatchSource, threads: int = 2) -> None:
        self.labels_n = source.labels_n
        self.patients_n = source.patients_n
        self.slides = source.slides
        self._source = source
        parts = np.array_split(np.arange(len(source.labels_n)), max(1, len(source.labels_n) // 64))
        with ThreadPoolExecutor(threads) as pool:
            self._pixels = np.concatenate(list(pool.map(source.read, parts)))

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.asarray(self._pixels[indices])

    def describe(self, index: int) -> str:
        return self._source.describe(index)
