"""HTTP caching of what never changes under its address."""

import hashlib

from fastapi import Request

# private: slides and results are patient data, which shared caches must not keep.
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}


def etag_of(*parts: object) -> str:
    """A strong ETag for what these parts determine."""
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


def not_modified(request: Request, etag: str) -> bool:
    """Whether the client has this version already."""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or etag in (item.strip() for item in known.split(","))
