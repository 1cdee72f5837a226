"""Who may call an endpoint: the type of its ``caller``.

Every endpoint of the API has exactly one parameter of these types, ``caller: Viewer`` say. It
authenticates the request, counts it against its caller's limits, refuses whoever lacks the role,
and leaves the entry for the audit log. ``roles_of`` refuses an app with an endpoint without one.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security.base import SecurityBase
from starlette.routing import BaseRoute

from service.auth.authenticator import ANONYMOUS, Principal
from service.auth.roles import Role
from service.context import Context, Ctx
from wsi.errors import WsiError


class Audit(Enum):
    """Which requests to an endpoint the audit log names."""

    CHANGES = "changes"
    """Those that change something, which GET never does."""
    ALWAYS = "always"
    """Reads as well: somebody saw or exported what is about a patient."""
    NEVER = "never"
    """None: pages repeat it all the time."""


class Requires:
    """Lets a request through whose caller has a role; leaves an entry for the audit log either way.

    Args:
        role: the lowest that suffices.
        audit: which requests the log names.
    """

    def __init__(self, role: Role, audit: Audit = Audit.CHANGES) -> None:
        self.role = role
        self._audit = audit

    async def __call__(self, request: Request, context: Ctx) -> Principal:
        """Who makes the request.

        Raises:
            UnauthorizedError: no key, or none that is valid.
            ForbiddenError: the caller's role is not enough, or another site sent the request.
            TooManyRequestsError: one too many.
        """
        authenticator = context.authenticator
        is_public = self.role is Role.PUBLIC
        request.state.audit = self._entry(request, context, ANONYMOUS)
        try:
            who = await authenticator.who(request)
        except WsiError:
            await authenticator.count(request, ANONYMOUS, is_public=is_public)
            raise
        noted = await authenticator.count(request, who, is_public=is_public)
        request.state.audit = self._entry(request, context, who) if noted else None
        authenticator.check(who, self.role)
        return who

    def _entry(self, request: Request, context: Context, who: Principal) -> object:
        is_read = request.method in ("GET", "HEAD", "OPTIONS")
        if self._audit is Audit.NEVER or (is_read and self._audit is not Audit.ALWAYS):
            return None
        return context.authenticator.audit_entry(request, request.scope["route"].path, who)


class RequiresKey(Requires, SecurityBase):
    """``Requires`` for a role that nobody has without a key; the API's description says so."""

    scheme_name = "bearer"
    model = HTTPBearer(description="A key (wsk_...), or a token of the installation's provider.")


Public = Annotated[Principal, Depends(Requires(Role.PUBLIC))]
"""Anyone, with a key or without."""
Viewer = Annotated[Principal, Security(RequiresKey(Role.VIEWER))]
Pathologist = Annotated[Principal, Security(RequiresKey(Role.PATHOLOGIST))]
Operator = Annotated[Principal, Security(RequiresKey(Role.OPERATOR))]
Admin = Annotated[Principal, Security(RequiresKey(Role.ADMIN))]

# Reads that the audit log names. Tiles are not among them: the .dzi before them is.
AuditedViewer = Annotated[Principal, Security(RequiresKey(Role.VIEWER, Audit.ALWAYS))]
AuditedOperator = Annotated[Principal, Security(RequiresKey(Role.OPERATOR, Audit.ALWAYS))]
AuditedAdmin = Annotated[Principal, Security(RequiresKey(Role.ADMIN, Audit.ALWAYS))]

UnauditedViewer = Annotated[Principal, Security(RequiresKey(Role.VIEWER, Audit.NEVER))]


def roles_of(routes: Sequence[BaseRoute], prefix: str) -> dict[tuple[str, str], Role]:
    """The lowest role for each method and path (below ``prefix``) of the API's endpoints.

    Raises:
        TypeError: an endpoint does not say who may call it, or says it twice.
    """
    found = {}
    for route in iter_route_contexts(routes):
        if not isinstance(route.original_route, APIRoute) or route.path is None:
            continue
        if not route.path.startswith(f"{prefix}/"):
            continue
        required = list(set(_required(route.dependant)))
        if len(required) != 1:
            raise TypeError(
                f"{route.path}: an endpoint needs one parameter that says who may call it, such as "
                f"'caller: Viewer' (service/auth/access.py); {route.name} has {len(required)}"
            )
        for method in route.methods or ():
            found[method, route.path.removeprefix(prefix)] = required[0].role
    return found


def _required(dependant: Dependant) -> Iterator[Requires]:
    if isinstance(dependant.call, Requires):
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _required(inner)
