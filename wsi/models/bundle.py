"""Model bundles: a folder of ``weights.safetensors`` and ``model.json``. Nothing is unpickled."""

import dataclasses
import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file

from wsi.errors import ModelError
from wsi.files import atomic_directory
from wsi.models.card import CARD_FILE, WEIGHTS_FILE, ModelCard, read_card


def save_bundle(folder: Path, card: ModelCard, state: dict[str, torch.Tensor]) -> ModelCard:
    """Write a bundle whole or not at all; an older one of the same name is replaced.

    Every user may read it, whatever the umask; the owner alone may write.

    Args:
        folder: the bundle's folder; its name should be ``card.name``.
        card: digest, date and version are filled in here.
        state: the network's ``state_dict``.

    Returns:
        The completed card.

    Raises:
        ModelError: the folder cannot be written.
    """
    try:
        # Workers may run as another user than the one who trained, whatever the umask.
        with atomic_directory(folder, mode=0o644) as scratch:
            weights = scratch / WEIGHTS_FILE
            save_file({key: value.contiguous().cpu() for key, value in state.items()}, weights)
            card = dataclasses.replace(
                card,
                weights_sha256=_sha256(weights),
                created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                code_version=version("wholeslide"),
            )
            (scratch / CARD_FILE).write_text(card.to_json())
    except OSError as error:
        raise ModelError(f"{folder}: the model bundle was not written: {error}") from error
    return card


def load_bundle(folder: Path) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Card and weights of a bundle, on the CPU.

    Raises:
        ModelError: something is missing, or the weights are not those that the card names.
    """
    card = read_card(folder)
    weights = folder / WEIGHTS_FILE
    try:
        digest = _sha256(weights)
    except OSError as error:
        raise ModelError(f"{weights}: cannot be read: {error}") from error
    if digest != card.weights_sha256:
        raise ModelError(f"{weights}: not the file that {CARD_FILE} describes (SHA-256 differs)")
    try:
        return card, load_file(weights)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{weights}: not a safetensors file: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
