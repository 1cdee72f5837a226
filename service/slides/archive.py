"""Slides of several files (MRXS, DICOM folders), sent as a zip. A hostile zip is refused."""

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from service.errors import DiskFullError, TooLargeError
from wsi.errors import DamagedSlideError, NotASlideError, UnsupportedSlideError, is_disk_full

_MAGIC = b"PK\x03\x04"
_BLOCK = 1 << 20
# Slides are compressed already. A zip that grows more than this is a bomb (small ones may).
_MAX_GROWTH = 100
_GROWTH_FREE = 256 << 20


def is_zip(path: Path) -> bool:
    """Whether the file says at its start that it is a zip."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def unpack(archive: Path, folder: Path, *, name: str, max_bytes: int, max_files: int) -> Path:
    """Unpack a zip of one slide and say where that is: a file alone, or a folder of files.

    Sizes are counted while writing; what the zip says of itself is not believed.

    Raises:
        TooLargeError: more files or bytes than allowed, or a bomb.
        DamagedSlideError: the zip is broken.
        UnsupportedSlideError: it is encrypted, or holds links or paths that lead out of it.
        NotASlideError: it is empty.
        DiskFullError: the disk has no room.
    """
    limit = min(max_bytes, max(_GROWTH_FREE, archive.stat().st_size * _MAX_GROWTH))
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [info for info in zipped.infolist() if not info.is_dir()]
            if len(members) > max_files:
                raise TooLargeError(f"{name}: more than {max_files} files in the zip")
            left = limit
            for info in members:
                place = _safe_place(info, name)
                if place is not None:
                    left -= _extract(zipped, info, folder / place, left, name)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DamagedSlideError(name, f"the zip is damaged ({error}); create it again") from error
    except (NotImplementedError, RuntimeError) as error:
        raise UnsupportedSlideError(name, f"the zip cannot be unpacked: {error}") from error
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError("the service's disk is full; nothing was stored") from error
        raise
    return _entry(folder, name)


def _safe_place(info: zipfile.ZipInfo, name: str) -> PurePosixPath | None:
    """Where a member goes, ``None`` for what operating systems add."""
    place = PurePosixPath(info.filename.replace("\\", "/"))
    mode = info.external_attr >> 16
    if place.is_absolute() or ".." in place.parts or ":" in info.filename:
        raise UnsupportedSlideError(name, f"the zip contains a path outside it: {info.filename!r}")
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise UnsupportedSlideError(name, f"the zip contains a link or device: {info.filename!r}")
    if info.flag_bits & 0x1:
        raise UnsupportedSlideError(name, "the zip is encrypted; send it without a password")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in place.parts)
    return None if hidden else place


def _extract(
    zipped: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, left: int, name: str
) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise UnsupportedSlideError(name, f"the zip contains {info.filename!r} twice")
    written = 0
    with zipped.open(info) as source, target.open("xb") as sink:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > left:
                raise TooLargeError(f"{name}: unpacked, it is larger than this service accepts")
            sink.write(block)
    return written


def _entry(folder: Path, name: str) -> Path:
    files = [path for path in folder.rglob("*") if path.is_file()]
    if not files:
        raise NotASlideError(name, "the zip is empty")
    return files[0] if len(files) == 1 else folder
