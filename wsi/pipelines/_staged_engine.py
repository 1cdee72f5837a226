"""An engine under the memory modes: it runs chains of stages, tiles of any size at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from wsi.errors import ConfigError
from wsi.models.card import ModelCard
from wsi.models.engines import Engine, check_images, require_features
from wsi.models.runtime import to_input
from wsi.networks.staged import Stage
from wsi.streaming.api import Forward

_CHECK_PX = 256
_CHECK_CELLS = 24


def stage_runner_of(engine: Engine, card: ModelCard) -> Callable[[Sequence[Stage]], Forward] | None:
    """What ``RunOptions.through`` takes; ``None`` for plain torch.

    A chain is converted, and held against torch, when it is first asked for: which stages run as
    one chain is the memory plan's choice, slide by slide.

    Raises:
        ConfigError: the engine is not one for slides of any size.
    """
    if engine.name == "torch":
        return None
    if engine.name == "openvino-int8":
        raise ConfigError(
            "engine openvino-int8 is calibrated on patches; the whole-slide pipeline runs on "
            "openvino, compile or torch"
        )
    ready: dict[str, Forward] = {}

    def stage_runner(stages: Sequence[Stage]) -> Forward:
        label = f"{stages[0].label}-{stages[-1].label}"
        if label not in ready:
            chain = nn.Sequential(*stages)
            forward = engine.forward(chain, label)
            require_features(engine, chain, forward, _example(chain, card))
            ready[label] = forward
        return ready[label]

    return stage_runner


def _example(chain: nn.Module, card: ModelCard) -> torch.Tensor:
    """Images for a chain that begins at the image, else cells as a ReLU leaves them."""
    channels = next(m.in_channels for m in chain.modules() if isinstance(m, nn.Conv2d))
    if channels == len(card.mean):
        return to_input(check_images(1, _CHECK_PX), card.mean, card.std, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    shape = (1, channels, _CHECK_CELLS, _CHECK_CELLS)
    return torch.randn(shape, generator=generator).relu()
