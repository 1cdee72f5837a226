"""Sessions of the page: opened with a key, by its dialog or by the sign-in form."""

from datetime import timedelta
from typing import Literal

from fastapi import Request, Response
from pydantic import BaseModel

from service.auth.authenticator import COOKIE, Principal
from service.context import Context
from service.errors import UnauthorizedError

_SESSION = timedelta(hours=12)


class Me(BaseModel):
    """The caller, their role, and how the service wants them to read.

    Attributes:
        known_by: what says who they are: a ``key``, a provider's ``token``, or ``nothing`` where
            keys are off and names are the reader's own word.
    """

    name: str
    role: str
    known_by: Literal["key", "token", "nothing"]
    blind_first_read: bool


def start_session(text: str, request: Request, response: Response, context: Context) -> Me:
    """Set the cookie of a new session.

    Raises:
        UnauthorizedError: the key is not valid.
        TooManyRequestsError: too many tries from this address.
    """
    context.authenticator.count_sign_in(request)
    key = context.keys.find(text.strip())
    if key is None or key.expires_at is not None:
        raise UnauthorizedError("this key is not valid")
    secret = context.keys.open_session(key, _SESSION)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(_SESSION.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return me(
        Principal(key.id, key.name, key.role),
        blind_first_read=context.settings.blind_first_read,
    )


def me(who: Principal, *, blind_first_read: bool) -> Me:
    """The caller, as clients see them."""
    return Me(
        name=who.name,
        role=who.role.name.lower(),
        known_by="key" if who.key_id else "token" if who.subject else "nothing",
        blind_first_read=blind_first_read,
    )
