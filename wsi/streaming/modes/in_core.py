"""The whole image at once, as torch runs any network: the reference for the other modes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wsi.errors import MemoryPlanError
from wsi.networks.staged import StagedNetwork
from wsi.streaming.accounting.profile import profile_network
from wsi.streaming.api import (
    MAX_ELEMENTS,
    Inference,
    LossFunction,
    RunOptions,
    StepResult,
    autocast,
    check_image,
    evaluation,
    to_device,
)
from wsi.streaming.image_source import ImageSource
from wsi.streaming.meter import Meter


def refuse_huge_tensors(
    network: StagedNetwork, source: ImageSource, run: RunOptions, mode: str
) -> None:
    """Refuse an image that would make a tensor of 2^31 elements or more.

    Raises:
        MemoryPlanError: with the stage, the number, and the largest square image that fits.
    """
    profiles = profile_network(network, source.size, batch=source.batch, dtype=run.autocast)
    worst = max(profiles, key=lambda profile: profile.largest_elements)
    if worst.largest_elements <= MAX_ELEMENTS:
        return
    height, width = source.size
    share = MAX_ELEMENTS / worst.largest_elements
    side = int((height * width * share) ** 0.5)
    raise MemoryPlanError(
        f"{mode}: an image of {height} x {width} px (batch {source.batch}) makes a tensor of "
        f"{worst.largest_elements:,} elements in {worst.label}; kernels count at most "
        f"{MAX_ELEMENTS:,}. Up to about {side} x {side} px fits; mode tiled takes any size."
    )


class InCore:
    """Everything in the device's memory."""

    name = "in_core"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Options:
        """No options."""

    def __init__(self, run: RunOptions, options: Options) -> None:
        self.run = run
        self.options = options

    def _image(self, network: StagedNetwork, source: ImageSource) -> Tensor:
        check_image(network, source)
        refuse_huge_tensors(network, source, self.run, self.name)
        return to_device(source.read(0, 0, *source.size), network, self.run)

    def infer(
        self, network: StagedNetwork, source: ImageSource, *, keep_embedding: bool = True
    ) -> Inference:
        """Logits and embedding of the whole image (``MemoryMode.infer``)."""
        meter = Meter(self.run.torch_device)
        stage_runner = self.run.stage_runner
        embed = stage_runner(network.stage_list) if stage_runner else network.embed
        with evaluation(network), torch.inference_mode():
            image = self._image(network, source)
            with autocast(self.run):
                embedding = embed(image)
            logits = network.classify(embedding)
        # Results must not be inference tensors: Grad-CAM differentiates through them.
        kept_embedding = embedding.cpu().clone() if keep_embedding else None
        self.run.report(1.0)
        return Inference(logits.cpu().clone(), kept_embedding, meter.read())

    def step(
        self, network: StagedNetwork, source: ImageSource, loss_fn: LossFunction
    ) -> StepResult:
        """Ordinary forward and backward on the whole image (``MemoryMode.step``)."""
        meter = Meter(self.run.torch_device)
        image = self._image(network, source)
        with autocast(self.run):
            embedding = network.embed(image)
        logits = network.classify(embedding)
        del embedding
        loss = loss_fn(logits)
        self.run.report(1 / 3)
        loss.backward()  # type: ignore[no-untyped-call]
        self.run.report(1.0)
        return StepResult(loss.item(), logits.detach().cpu(), meter.read())
