"""The version that a save was made from: the ``If-Match`` header."""

import re
from typing import Annotated

from fastapi import Header

from service.errors import PreconditionMissingError

IfMatch = Annotated[str | None, Header(alias="If-Match")]


def seen_version(if_match: str | None) -> int:
    """The version that the client last read, out of its header: ``"3"``, or ``3``.

    Raises:
        PreconditionMissingError: the header is missing, or is not a version.
    """
    found = re.fullmatch(r'\s*"?(\d{1,9})"?\s*', if_match or "")
    if not found:
        raise PreconditionMissingError(
            "send the ETag of the version you last read in If-Match; 0 for something new"
        )
    return int(found[1])
