"""What watchers of batches are shown."""

from collections.abc import Sequence

from service.batches.repository import BatchRepository
from service.batches.schemas import BatchOut, batches_out
from service.webhooks.repository import WebhookRepository


def read_batches(
    batches: BatchRepository, callbacks: WebhookRepository, ids: Sequence[str]
) -> dict[str, tuple[BatchOut, bool]]:
    """Each batch that exists, and whether every item of it has ended."""
    found = batches.some(ids)
    shown = batches_out(callbacks, found)
    return {one.id: (one, batch.is_final) for one, batch in zip(shown, found, strict=True)}
