"""Models in memory, so that one is loaded once a process."""

from __future__ import annotations

import importlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from wsi.errors import ConfigError, ModelError
from wsi.models.card import read_card

if TYPE_CHECKING:
    # Reaches torch, which a supervisor has no use for and should not hold in memory.
    from wsi.pipelines.base import Pipeline

_log = logging.getLogger(__name__)

Loader: TypeAlias = "Callable[[str, Path, str], Pipeline]"


def loader_by_name(name: str, engine: str = "torch") -> Loader:
    """The function that a ``module:function`` names.

    Args:
        name: of the function.
        engine: handed to it as ``engine``, unless it is plain torch.

    Raises:
        ConfigError: there is no such thing.
    """
    module, _, function = name.partition(":")
    try:
        loader: Loader = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"WSI_PIPELINE_LOADER={name!r} names no function: {error}") from error
    if engine == "torch":
        return loader
    return partial(loader, engine=engine)  # type: ignore[call-arg]


class LoadedPipelines:
    """Pipelines by the digest of their weights; the least recently used is let go.

    Args:
        models_dir: folder of model bundles.
        device: where models are loaded.
        load: makes a pipeline from (name, bundle, device).
        capacity: how many models stay in memory.
    """

    def __init__(self, models_dir: Path, device: str, load: Loader, *, capacity: int = 2) -> None:
        self._models_dir = models_dir
        self._device = device
        self._load = load
        self._capacity = capacity
        self._loaded: OrderedDict[tuple[str, str, str], Pipeline] = OrderedDict()

    def get(self, pipeline: str, model: str) -> Pipeline:
        """A pipeline with its model, loaded unless it is in memory already.

        Raises:
            ModelError: the bundle is missing or damaged.
            ConfigError: there is no such pipeline.
        """
        bundle = self._models_dir / model
        if bundle.parent != self._models_dir:
            raise ModelError(f"{model!r} is no name of a model")
        # By digest: a bundle that was replaced is loaded again, under the same name as before.
        key = (pipeline, model, read_card(bundle).weights_sha256)
        if key not in self._loaded:
            while len(self._loaded) >= self._capacity:
                self._loaded.popitem(last=False)
            _log.info("loading %s for pipeline %s on %s", model, pipeline, self._device)
            self._loaded[key] = self._load(pipeline, bundle, self._device)
        self._loaded.move_to_end(key)
        return self._loaded[key]
