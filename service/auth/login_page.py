"""A sign-in form for the review page, without scripts."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader

from service.auth.authenticator import refuse_forged
from service.auth.service import start_session
from service.context import Ctx
from service.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError

router = APIRouter(include_in_schema=False)

_TEMPLATES = Environment(
    loader=PackageLoader("service.auth"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


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
    # Neither the browser nor a proxy may store the answer to an attempt.
    stored = {"Cache-Control": "no-store", **(headers or {})}
    page = _TEMPLATES.get_template("login.html").render(problem=problem)
    return HTMLResponse(page, status_code=status, headers=stored)
