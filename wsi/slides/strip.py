"""A copy of a slide without label and macro images, which may show the patient's name."""

import shutil
from pathlib import Path

from wsi.errors import UnsupportedSlideError
from wsi.slides.open import open_slide
from wsi.slides.reader import SlideReader
from wsi.slides.strip_dicom import strip_dicom
from wsi.slides.strip_tiff import strip_tiff

_TIFF = ("aperio", "generic-tiff")
_HARMLESS = {"thumbnail"}


def strip_labels(
    source: Path, target: Path, *, name: str | None = None, uid_key: str = ""
) -> tuple[str, ...]:
    """Write a copy without label and macro images and without fields that name the patient.

    The pixels of all levels stay as they are, bit for bit. Read: Aperio SVS, generic tiled TIFF,
    and DICOM, whose copy gets new UIDs.

    Args:
        source: a slide.
        target: a file (for a DICOM folder: a folder) that is not there yet.
        name: how messages call the slide; its file name unless given.
        uid_key: a secret of the site that new UIDs are made with, see ``strip_dicom``.

    Returns:
        What was left out, for people: ``("label", "macro")``.

    Raises:
        SlideError: the slide cannot be opened, or not be stripped; then there is no copy.
        FileExistsError: the target is there.
    """
    name = name or source.name
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    with open_slide(source, name=name) as slide:
        try:
            if slide.vendor == "dicom":
                removed = strip_dicom(source, target, name=name, key=uid_key)
            elif source.is_dir():
                raise UnsupportedSlideError(
                    name, "a folder is stripped where it holds a DICOM slide; name the slide's file"
                )
            elif slide.vendor in _TIFF:
                removed = strip_tiff(source, target, slide, name=name)
            else:
                raise UnsupportedSlideError(
                    name,
                    f"labels cannot be removed from this format ({slide.vendor}); this works for "
                    "Aperio SVS, generic TIFF and DICOM: convert it to one of them",
                )
            _require_same(slide, target, name)
        except FileExistsError:
            # Somebody else's, made at this moment.
            raise
        except BaseException:
            _remove(target)
            raise
    return removed


def _require_same(slide: SlideReader, copy: Path, name: str) -> None:
    """Look at the copy with the eyes of a reader."""
    with open_slide(copy, name=name) as stripped:
        same = (stripped.vendor, stripped.levels, stripped.mpp, stripped.magnification) == (
            (slide.vendor, slide.levels, slide.mpp, slide.magnification)
        )
        if not same or set(stripped.associated_images) - _HARMLESS:
            raise UnsupportedSlideError(
                name, "it is laid out in a way that labels cannot be removed from"
            )


def _remove(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
