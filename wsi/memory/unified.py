"""CUDA managed memory: the driver pages activations between device and host.

What the first published whole-slide training did (Chen et al., 2021), with its three techniques:
saved activations form groups, a group's pages are asked out as soon as they are saved, and the
next group's are asked back while one computes. Kept for comparison: ``tiled`` and ``offload`` do
not depend on page faults. Backward's own temporaries are made on another thread and stay in plain
device memory.
"""

# Coverage is below 80 % where there is no GPU: the rest runs on a CUDA device, by tests/gpu.

import weakref
from dataclasses import dataclass
from typing import Any

import torch

from wsi.errors import MemoryPlanError
from wsi.memory.candidate import Budget, Speed
from wsi.memory.costs import CostModel
from wsi.memory.managed import ManagedTier, managed_pool, why_unavailable
from wsi.memory.mode import Inference, LossFunction, RunOptions, StepResult
from wsi.memory.network import StagedNetwork
from wsi.memory.offload import Offload
from wsi.memory.profile import profile_network
from wsi.memory.source import ImageSource
from wsi.memory.tiers import Tier


class Unified(Offload):
    """The whole network in managed memory, which may exceed the device's."""

    name = "unified"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Options(Offload.Options):
        """How far managed memory may go.

        Attributes:
            limit_bytes: most managed memory, device and host together. There is no default: to
                ask for more than a shared machine can give can hang its GPU.
        """

        limit_bytes: int

    def __init__(self, run: RunOptions, options: Options) -> None:
        super().__init__(run, options)
        self._limit = options.limit_bytes
        self._pool: Any = None
        reason = why_unavailable(run.torch_device)
        if reason is not None:
            raise MemoryPlanError(
                f"memory mode unified is not available: {reason}. Use tiled, or offload for "
                "BatchNorm in train mode."
            )

    def _get_tier(self) -> Tier:
        if self._tier is None:
            self._tier = ManagedTier(self.run.torch_device)
            weakref.finalize(self, self._tier.close)
        return self._tier

    def refuse_oversubscription(self, network: StagedNetwork, source: ImageSource) -> None:
        """Refuse a step that would need more managed memory than allowed.

        Raises:
            MemoryPlanError: with both numbers.
        """
        dtype = self.run.autocast
        profiles = profile_network(network, source.size, batch=source.batch, dtype=dtype)
        budget = Budget(device_bytes=self._limit, host_bytes=0)
        model = CostModel(
            network,
            source.size,
            source.batch,
            dtype or network.dtype,
            budget,
            Speed(flop_per_s=1.0),
            profiles,
        )
        need = model.in_core().device_bytes
        if need > self._limit:
            raise MemoryPlanError(
                f"unified: an update at {source.size[0]} x {source.size[1]} px needs about "
                f"{need / 1e9:.2f} GB of managed memory and the limit is {self._limit / 1e9:.2f} "
                "GB. Raise limit_bytes if device and host together have that much free, or use "
                "mode tiled."
            )

    def _in_pool(self) -> Any:
        if self._pool is None:
            self._pool = managed_pool(self._limit)
        device = self.run.torch_device  # "cuda", without a number, is the current one
        return torch.cuda.use_mem_pool(self._pool, None if device.index is None else device)

    def infer(
        self, network: StagedNetwork, source: ImageSource, *, keep_embedding: bool = True
    ) -> Inference:
        """See ``MemoryMode.infer``."""
        self.refuse_oversubscription(network, source)
        with self._in_pool():
            return super().infer(network, source, keep_embedding=keep_embedding)

    def step(
        self, network: StagedNetwork, source: ImageSource, loss_fn: LossFunction
    ) -> StepResult:
        """See ``MemoryMode.step``."""
        self.refuse_oversubscription(network, source)
        # Gradients outlive the pool's use, so they are made outside it.
        for parameter in network.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        with self._in_pool():
            return super().step(network, source, loss_fn)


MODE = Unified
