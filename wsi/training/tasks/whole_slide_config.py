"""What is asked of a training of the whole-slide network."""

from dataclasses import dataclass, field
from typing import Any, Literal

from wsi.data.augment import AugmentSpec
from wsi.errors import ConfigError
from wsi.malignancy import check_malignant
from wsi.networks import NormKind, PoolingKind


@dataclass(frozen=True, kw_only=True)
class WholeSlideTraining:
    """Everything that decides the result of a training, besides the data.

    Attributes:
        name: of the model.
        classes: slide classes, in the order of the labels; the first is the normal one.
        malignant: those that are, most severe first; ``None`` goes by their names.
        mpp: micrometres per pixel to draw slides at; 0 fits each slide to ``input_px``.
        input_px: longer side of a fitted slide.
        architecture, weights: see ``wsi.models.backbones.build_backbone``.
        start: bundle of a patch classifier of the same architecture to start from.
        norm, pooling: see ``wsi.networks.stage_network``.
        memory: a memory mode's name, or ``auto``: the fastest that fits, planned for each size.
        memory_options: options of a named mode, such as ``tile_px``.
        device_memory, host_memory: bytes that ``auto`` may use; 0 asks the machine.
        accumulate: slides whose gradients make one update.
        warmup: updates until the learning rate is reached.
        checkpoint_updates: a checkpoint every so many updates, besides the one an epoch.
        patience: epochs without a better validation figure before stopping; 0 never stops early.
    """

    name: str
    classes: tuple[str, ...]
    malignant: tuple[str, ...] | None = None
    mpp: float = 0.0
    input_px: int = 10_000
    architecture: str = "resnet50"
    weights: str | None = None
    start: str | None = None
    norm: NormKind = "frozen"
    pooling: PoolingKind = "lse"
    memory: str = "auto"
    memory_options: dict[str, Any] = field(default_factory=dict)
    device_memory: int = 0
    host_memory: int = 0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    epochs: int = 20
    accumulate: int = 4
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warmup: int = 10
    class_weights: bool = True
    label_smoothing: float = 0.0
    checkpoint_updates: int = 10
    patience: int = 0
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    augmentation: AugmentSpec = field(default_factory=AugmentSpec)

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ConfigError(f"a classifier needs at least two classes, got {self.classes}")
        check_malignant(self.classes, self.malignant)
        if self.epochs < 1 or self.accumulate < 1 or not self.learning_rate > 0:
            raise ConfigError("epochs, accumulate and learning rate must be positive")
        if self.mpp <= 0 and self.input_px < 32:
            raise ConfigError("give the resolution as mpp, or a size of at least 32 px to fit to")
        if self.weights and self.start:
            raise ConfigError("start from weights or from a patch classifier, not from both")
