"""Calls webhooks that are due, and calls again those that did not answer."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from service.webhooks.call import CallError, headers, require_allowed, send
from service.webhooks.repository import (
    DELIVERED,
    GIVEN_UP,
    WAITING,
    Webhook,
    WebhookRepository,
)
from wsi.errors import ConfigError

_log = logging.getLogger(__name__)

_LEASE_S = 60.0
_MAX_ATTEMPTS = 20
_LONGEST_WAIT_S = 3600.0
_MAX_ERROR = 500


class WebhookCaller:
    """Every call is made at least once; a receiver recognizes duplicates by their delivery id.

    Args:
        webhooks: what is to be called.
        hosts: who may be called; looked at again before each call.
        secret: what calls are signed with.
        first_wait_s: seconds after a first failure; doubled with each further one.
        tell: what to say of a batch or job: ``(kind, id)`` to JSON.
    """

    def __init__(
        self,
        webhooks: WebhookRepository,
        *,
        hosts: tuple[str, ...],
        secret: str,
        first_wait_s: float,
        tell: Callable[[str, str], dict[str, Any]],
    ) -> None:
        self._webhooks = webhooks
        self._hosts = hosts
        self._secret = secret
        self._first_wait_s = first_wait_s
        self._tell = tell

    def step(self) -> bool:
        """Make one call that is due; whether there was one."""
        webhook = self._webhooks.take(lease_s=_LEASE_S)
        if webhook is None:
            return False
        try:
            self._call(webhook)
        except (CallError, ConfigError) as error:
            self._failed(webhook, str(error)[:_MAX_ERROR])
        else:
            self._webhooks.settle(webhook, DELIVERED)
        return True

    def _call(self, webhook: Webhook) -> None:
        require_allowed(webhook.url, self._hosts)
        event = {"event": f"{webhook.kind}.finished", **self._tell(webhook.kind, webhook.target_id)}
        body = json.dumps(event).encode()
        timestamp = str(int(time.time()))
        send(webhook.url, body, headers(self._secret, timestamp, webhook.id, body))

    def _failed(self, webhook: Webhook, error: str) -> None:
        _log.warning(
            "webhook of %s %s, attempt %d: %s",
            webhook.kind,
            webhook.target_id,
            webhook.attempts,
            error,
        )
        over = webhook.attempts >= _MAX_ATTEMPTS
        wait_s = min(_LONGEST_WAIT_S, self._first_wait_s * 2 ** (webhook.attempts - 1))
        self._webhooks.settle(webhook, GIVEN_UP if over else WAITING, error=error, wait_s=wait_s)
