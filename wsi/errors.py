"""The one error tree of wholeslide.

A message says what is wrong, which slide (or file) it is about, and what to do. Anything a caller
may want to act on is a typed attribute. HTTP codes live in ``service/errors.py`` alone.
"""

import errno
import warnings


class WsiError(Exception):
    """Root of every error that wholeslide raises on purpose."""


class ConfigError(WsiError):
    """An option has a value that cannot work."""


class MissingExtraError(ConfigError):
    """A library that not everybody needs is not installed here."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed here: pip install 'wholeslide[{extra}]'")


class SlideError(WsiError):
    """Something is wrong with one slide.

    Attributes:
        slide: the name or path of the slide, as the user knows it.
        kind: a stable, machine-readable word for what is wrong.
    """

    kind = "slide_error"

    def __init__(self, slide: str, message: str) -> None:
        super().__init__(f"{slide}: {message}")
        self.slide = slide
        self.reason = message


class UnreadableSlideError(SlideError):
    """The operating system does not give us the file: missing, no permission, a device error."""

    kind = "unreadable"


class UnsupportedSlideError(SlideError):
    """An image or slide of a format or layout that this software does not read."""

    kind = "unsupported"


class NotASlideError(SlideError):
    """The file is not a slide at all: empty, text, a photograph."""

    kind = "not_a_slide"


class DamagedSlideError(SlideError):
    """The file was a slide once: truncated, overwritten, or with tiles that do not decode."""

    kind = "damaged"


class ChangedSlideError(SlideError):
    """The object in storage is not the one that was registered: its pixels would be others."""

    kind = "changed"


class SlideUnavailableError(SlideError):
    """A slide in object storage cannot be fetched at present; later it may be."""

    kind = "slide_unavailable"


class MppError(SlideError):
    """The slide states no resolution, or one that cannot be true."""

    kind = "mpp"


class CoarseSlideError(MppError):
    """The slide is coarser than what a model wants to see of it."""

    kind = "coarse"


class AnnotationError(WsiError):
    """An annotation file cannot be read or does not fit its slide."""


class StoreError(WsiError):
    """A slide store is missing, damaged, or cannot be written."""


class StoreFullError(StoreError):
    """There is no room where a slide store lies; later there may be."""

    kind = "store"


class ArtifactMissingError(StoreError):
    """The store does not hold a complete artifact of this kind and digest."""


class ModelError(WsiError):
    """A model bundle is missing, damaged, or does not fit what it is asked to do."""


class DatasetError(WsiError):
    """A training table is wrong: missing files, leakage between splits, an empty class."""


class TrainingError(WsiError):
    """A training cannot go on: its loss is no longer a number."""


class MemoryPlanError(WsiError):
    """A memory mode cannot take this network and input exactly, or not within its budget."""


class AnalysisCancelledError(WsiError):
    """The caller asked the analysis to stop."""


class JobError(WsiError):
    """Root of errors about jobs."""


class JobNotFoundError(JobError):
    """No job has this id."""


class IllegalMoveError(JobError):
    """A job cannot go from its present state to the wanted one."""


class LeaseLostError(JobError):
    """Another worker, or the queue, owns this job now: the result at hand must be dropped."""


class JobStoreUnavailableError(JobError):
    """The database of jobs cannot be reached at present; nothing was lost, try again."""


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed for want of room, or of the user's share of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def __getattr__(name: str) -> type[WsiError]:
    # For this release: what was renamed.
    if name == "SlideAwayError":
        text = "wsi.errors.SlideAwayError is now called SlideUnavailableError"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return SlideUnavailableError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
