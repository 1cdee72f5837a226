"""The slides of a folder on a mount."""

import os
from pathlib import Path

from service.errors import BadRequestError

_ENDINGS = frozenset(
    ".svs .tif .tiff .ndpi .mrxs .scn .bif .vms .vmu .svslide .czi".split()  # noqa: SIM905
)
_DICOM = ".dcm"


def slides_below(folder: Path, *, limit: int) -> list[Path]:
    """Slides in a folder and those below it, by name; a folder of DICOM instances is one slide.

    Links to folders are not followed. Files of other kinds are passed over. A folder that cannot be
    read is listed as if it were a slide, so that it is said so.

    Raises:
        BadRequestError: there is no such folder, none in it, or more than ``limit``.
    """
    if not folder.is_dir():
        raise BadRequestError(f"there is no folder {folder}")
    found: list[Path] = []

    def unreadable(error: OSError) -> None:
        found.append(Path(error.filename))

    for place, folders, files in os.walk(folder, onerror=unreadable):
        here = Path(place)
        names = sorted(files)
        if any(name.lower().endswith(_DICOM) for name in names):
            found.append(here)
        found += [here / name for name in names if Path(name).suffix.lower() in _ENDINGS]
        # The data of a MIRAX slide lie in a folder of the slide's name.
        mirax = {Path(name).stem for name in names if name.lower().endswith(".mrxs")}
        folders[:] = sorted(name for name in folders if name not in mirax and name[0] != ".")
        if len(found) > limit:
            raise BadRequestError(f"{folder} holds more than {limit} slides; name folders below it")
    if not found:
        raise BadRequestError(f"{folder} holds no slides")
    return found
