"""The slides of a folder on a mount."""

from pathlib import Path

from service.errors import BadRequestError
from wsi.slides.folder import slides_below


def slides_in(folder: Path, *, limit: int) -> list[Path]:
    """What opens each slide in a folder and those below it.

    A DICOM slide is a folder where it lies alone, else one of its files. What cannot be read is
    listed as if it were a slide, so that it is said so.

    Raises:
        BadRequestError: there is no such folder, no slide in it, or more than ``limit``.
    """
    if not folder.is_dir():
        raise BadRequestError(f"no such folder: {folder}")
    found = [slide.path for slide in slides_below(folder)]
    if len(found) > limit:
        raise BadRequestError(f"{folder} holds more than {limit} slides; use its subfolders")
    if not found:
        raise BadRequestError(f"{folder} holds no slides")
    return found
