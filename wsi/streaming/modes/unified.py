"""CUDA managed memory: the driver pages activations between device and host.

The method of the first published whole-slide training (Chen et al., 2021), with its three
techniques: saved activations form groups, the pages of a group are prefetched to the host as soon
as they are saved, and those of the next group are prefetched back while one computes. It is here
for comparison: ``tiled`` and ``offload`` do not depend on page faults. Temporary tensors of
backward are allocated on another thread, in ordinary device memory.
"""

# Coverage is below 80 % where there is no GPU: the rest runs on a CUDA device, by tests/gpu.

import math
import weakref
from dataclasses import dataclass
from typing import Any

import torch

from wsi.errors import MemoryPlanError
from wsi.networks.staged import StagedNetwork
from wsi.streaming.accounting.candidate import in_core_bytes, resident_bytes
from wsi.streaming.accounting.profile import profile_network
from wsi.streaming.api import Inference, LossFunction, RunOptions, StepResult
from wsi.streaming.image_source import ImageSource
from wsi.streaming.modes.offload import Offload
from wsi.streaming.storage.managed import ManagedTier, managed_pool, why_unavailable
from wsi.streaming.storage.offload_tiers import Tier


class Unified(Offload):
    """The whole network in managed memory, which may exceed the device's."""

    name = "unified"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Options(Offload.Options):
        """Limits of managed memory.

        Attributes:
            limit_bytes: most managed memory, device and host together. There is no default,
                because asking a shared machine for more than it has can hang its GPU.
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
        resident = resident_bytes(network, on_cuda=True, training=True, state_per_parameter=0)
        image_bytes = source.batch * 3 * math.prod(source.size) * network.dtype.itemsize
        need = in_core_bytes(resident, image_bytes, profiles, training=True)
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
        """As ``in_core``, in managed memory (``MemoryMode.infer``)."""
        self.refuse_oversubscription(network, source)
        with self._in_pool():
            return super().infer(network, source, keep_embedding=keep_embedding)

    def step(
        self, network: StagedNetwork, source: ImageSource, loss_fn: LossFunction
    ) -> StepResult:
        """As ``offload``, in managed memory (``MemoryMode.step``)."""
        self.refuse_oversubscription(network, source)
        # Gradients outlive the use of the pool, so they are allocated outside it.
        for parameter in network.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        with self._in_pool():
            return super().step(network, source, loss_fn)
