"""A sign-in form for the review page, without scripts."""

from html import escape
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from service.auth.endpoints import start_session
from service.auth.gate import refuse_forged
from service.context import Ctx
from service.errors import TooManyRequestsError, UnauthorizedError

router = APIRouter(include_in_schema=False)

_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in - wholeslide</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px system-ui;max-width:24rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;width:100%;padding:.5rem;margin:.5rem 0;box-sizing:border-box}}
[role=alert]{{color:#b00020}}</style></head>
<body><main><h1>wholeslide</h1>{error}
<form method="post" action="/login"><label for="key">Access key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button></form></main></body></html>
"""


@router.get("/login")
def show_form() -> HTMLResponse:
    """The form."""
    return HTMLResponse(_FORM.format(error=""))


@router.post("/login")
def sign_in(key: Annotated[str, Form(max_length=200)], request: Request, context: Ctx) -> Response:
    """Exchange the key for a session and go on to the page."""
    refuse_forged(request)
    answer = RedirectResponse("/", status_code=303)
    try:
        start_session(key, request, answer, context)
    except (UnauthorizedError, TooManyRequestsError) as error:
        text = f'<p role="alert">{escape(str(error).capitalize())}.</p>'
        status = 401 if isinstance(error, UnauthorizedError) else 429
        return HTMLResponse(_FORM.format(error=text), status_code=status)
    return answer
