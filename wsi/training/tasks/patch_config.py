"""What is asked of a training of the patch classifier."""

from dataclasses import dataclass, field
from typing import Literal

from wsi.data.augment import AugmentSpec
from wsi.errors import ConfigError
from wsi.malignancy import check_malignant
from wsi.models.stain import StainNormalization

Balance = Literal["none", "loss", "sampler"]


@dataclass(frozen=True, kw_only=True)
class PatchTraining:
    """Everything that decides the result of a training, besides the data.

    Attributes:
        name: of the model.
        classes: in the order of the labels.
        malignant: those that are, most severe first; ``None`` goes by their names.
        mpp: micrometres per pixel of the patches.
        input_px: side of a patch.
        architecture, weights: see ``wsi.models.backbones.build_backbone``.
        balance: against class imbalance: weights in the loss, a weighted sampler, or nothing.
        hard_negatives: how many times more often a normal patch that the network takes for disease
            is seen, beyond once; 0 leaves the sampling alone.
        average: share of the old weights kept at each step in the running average that is
            validated and saved (Polyak averaging); 0 switches it off.
        overlap_px: how much patches overlap when the model scores a slide; half a patch smooths
            the map and costs four times the patches.
        stain_normalization: what was done to the patches' stain, so that the pipeline does the
            same.
        compile: have torch.compile make the network faster; needs a C++ compiler on a CPU.
        patience: epochs without a better validation figure before stopping; 0 never stops early.
        precision: ``auto`` takes bfloat16 where the hardware has it.
    """

    name: str
    classes: tuple[str, ...]
    mpp: float
    input_px: int
    malignant: tuple[str, ...] | None = None
    architecture: str = "resnet18"
    weights: str | None = None
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.0
    balance: Balance = "loss"
    hard_negatives: float = 0.0
    average: float = 0.0
    overlap_px: int = 0
    stain_normalization: StainNormalization = "none"
    compile: bool = False
    patience: int = 0
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    augmentation: AugmentSpec = field(default_factory=AugmentSpec)

    def __post_init__(self) -> None:
        if self.hard_negatives < 0:
            raise ConfigError(f"hard_negatives must be zero or more, got {self.hard_negatives}")
        if not 0 <= self.overlap_px < self.input_px:
            raise ConfigError(f"overlap must lie in [0, {self.input_px}) px, got {self.overlap_px}")
        if len(self.classes) < 2:
            raise ConfigError(f"a classifier needs at least two classes, got {self.classes}")
        check_malignant(self.classes, self.malignant)
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ConfigError("epochs, batch size and learning rate must be positive")
