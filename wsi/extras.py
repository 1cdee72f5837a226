"""A clear error where a library of an optional extra is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from wsi.errors import MissingExtraError

_OURS = ("wsi", "service", "workers")


@contextmanager
def needs_extra(extra: str, user: str) -> Iterator[None]:
    """Around imports: a missing library is reported together with the extra that installs it.

    Args:
        extra: a name of ``[project.optional-dependencies]`` in ``pyproject.toml``.
        user: what needs the library, as the subject of a sentence.

    Raises:
        MissingExtraError: a library is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in _OURS:  # a defect of ours and not of the installation
            raise
        raise MissingExtraError(f"{user} needs {library}, which", extra) from error
