"""A sign-in form for the review page, without scripts."""

from collections.abc import Mapping
from html import escape
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from service.auth.authenticator import refuse_forged
from service.auth.endpoints import start_session
from service.context import Ctx
from service.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError

router = APIRouter(include_in_schema=False)

_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in - wholeslide</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px system-ui;max-width:24rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;width:100%;padding:.5rem;margin:.5rem 0;box-sizing:border-box}}
[role=alert]{{color:#b00020}}</style></head>
<body><main><h1>wholeslide</h1>{error}
<form method="post" action="/login"><label for="key">Access key</label>
<input id="key" name="key" type="password" autocomplete="current-password"
required autofocus {described}>
<button>Sign in</button></form></main></body></html>
"""


@router.get("/login")
def show_form() -> HTMLResponse:
    """The form."""
    return _form()


@router.post("/login")
def sign_in(request: Request, context: Ctx, key: Annotated[str, Form()] = "") -> Response:
    """Exchange the key for a session and go on to the page; else the form again, with the reason.

    Whoever sees the answer looks at a form: a reason in JSON would be no answer.
    """
    answer = RedirectResponse("/", status_code=303)
    try:
        refuse_forged(request)
        start_session(key, request, answer, context)
    except UnauthorizedError:
        return _form("This key is not valid. Check it and try again.", 401)
    except TooManyRequestsError as error:
        text = f"Too many attempts to sign in. Try again in {error.wait_s} seconds."
        return _form(text, 429, {"Retry-After": str(error.wait_s)})
    except ForbiddenError:
        return _form("Sign-in failed. Reload this page and try again.", 403)
    return answer


def _form(
    problem: str = "", status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    error = f'<p id="problem" role="alert">{escape(problem)}</p>' if problem else ""
    described = 'aria-describedby="problem" aria-invalid="true"' if problem else ""
    # Neither the browser nor a proxy keeps what an attempt was answered.
    kept = {"Cache-Control": "no-store", **(headers or {})}
    page = _FORM.format(error=error, described=described)
    return HTMLResponse(page, status_code=status, headers=kept)
