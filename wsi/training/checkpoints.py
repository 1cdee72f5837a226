"""Checkpoints: safetensors and JSON, written whole or not at all, never pickled."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from wsi.errors import ConfigError, DatasetError, ModelError
from wsi.plain_json import finite_json

_TENSORS = "tensors.safetensors"
_STATE = "state.json"
_FORMAT = 2


def save_checkpoint(
    folder: Path, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]
) -> None:
    """Replace the checkpoint in ``folder``. A crash at any moment leaves the old or the new one.

    Raises:
        DatasetError: the disk is full or refuses; the old checkpoint is still there.
    """
    scratch = folder.with_name(f".{folder.name}.new")
    old = folder.with_name(f".{folder.name}.old")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        save_file({key: value.contiguous() for key, value in tensors.items()}, scratch / _TENSORS)
        (scratch / _STATE).write_text(_json({"format": _FORMAT, **state}))
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        scratch.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DatasetError(f"{folder}: the checkpoint was not written: {error}") from error


def _json(state: Mapping[str, Any]) -> str:
    return json.dumps(finite_json(dict(state)), allow_nan=False)


def load_checkpoint(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and state of the checkpoint, or ``None`` where there is none.

    Raises:
        ModelError: it is there and cannot be read.
    """
    old = folder.with_name(f".{folder.name}.old")
    # Killed between the two renames: the old one is still the newest.
    place = folder if folder.exists() else old
    if not place.exists():
        return None
    try:
        return load_file(place / _TENSORS), json.loads((place / _STATE).read_text())
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{place}: the checkpoint cannot be read: {error}") from error


def load_matching(
    folder: Path, identity: Mapping[str, Any], *, examples: str
) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The checkpoint of a training with this identity, or ``None`` where there is none.

    Args:
        folder: of the checkpoint.
        identity: ``options`` and ``data_digest`` of the training that would continue it.
        examples: what the training learns from, for messages: ``slides``.

    Raises:
        ConfigError: the checkpoint was made with other options, from data that have changed since,
            or by a version whose checkpoints this one does not read.
        ModelError: it is there and cannot be read.
    """
    found = load_checkpoint(folder)
    if found is None:
        return None
    state = found[1]
    if state.get("format") != _FORMAT:
        raise ConfigError(
            f"{folder}: the checkpoint was made by another version of wholeslide and cannot be "
            "continued; finish the training with that version, or train without --resume"
        )
    differing = _differing(state["options"], identity["options"])
    if differing:
        raise ConfigError(
            f"{folder}: the checkpoint was made with other options ({', '.join(differing)}); "
            "resume with the same ones, or train without --resume"
        )
    if state["data_digest"] != identity["data_digest"]:
        raise ConfigError(
            f"{folder}: the table or its {examples} have changed since the checkpoint was made; "
            "restore them, or train without --resume"
        )
    return found


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the options that are not the same."""
    stored = json.loads(_json(now))
    names = sorted({*before, *stored})
    return [name for name in names if before.get(name) != stored.get(name)]


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimizer's per-parameter state as named tensors."""
    return {
        f"optimizer.{index}.{key}": value
        for index, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
        if isinstance(value, torch.Tensor)
    }


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """The inverse of ``pack_optimizer``, into an optimizer of the same parameters."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def prefixed(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict under a name."""
    return {f"{prefix}.{key}": value for key, value in state.items()}


def without_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict that ``prefixed`` put under this name."""
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}
