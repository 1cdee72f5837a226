"""Exact training with any normalization: saved activations leave the device until backward.

In forward, the copy of each tensor that autograd saves starts at once, one copy per storage. Saved
tensors form groups of a given number of bytes; the device memory of a group is free again as soon
as the next group is full. In backward, a group is prefetched while the one after it computes. What
is saved last is needed first, so as much of it as fits stays on the device. Nothing is computed
twice, so BatchNorm in train mode is exact and updates its running statistics once. (Eager
swap-out, group execution and prefetch as in Chen et al., 2021, there with unified memory.)
"""

import math
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from wsi.errors import ConfigError
from wsi.networks.staged import StagedNetwork
from wsi.streaming.accounting.profile import profile_network
from wsi.streaming.api import LossFunction, RunOptions, StepResult, autocast
from wsi.streaming.image_source import ImageSource
from wsi.streaming.meter import Meter
from wsi.streaming.modes.in_core import InCore
from wsi.streaming.storage.offload_tiers import DiskTier, Fence, PendingLoad, PinnedTier, Tier

ALIGNMENT = 512
PREDICTION_MARGIN = 1.05


class _Record:
    """One storage that was offloaded."""

    def __init__(self, group: int, offset: int, nbytes: int) -> None:
        self.group = group
        self.offset = offset
        self.nbytes = nbytes
        self.loading: PendingLoad | None = None


@dataclass(slots=True)
class _Packed:
    """What autograd holds in place of a saved tensor: its storage and the view of it."""

    record: _Record
    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]
    storage_offset: int


@dataclass(slots=True)
class _Group:
    """Storages that are offloaded together and loaded together."""

    records: list["weakref.ref[_Record]"] = field(default_factory=list)
    # Referenced until the copies are done, so that nothing else reuses the memory.
    sources: list[Tensor] = field(default_factory=list)
    nbytes: int = 0
    fence: Fence | None = None


class Swapper:
    """The hooks for ``torch.autograd.graph.saved_tensors_hooks``; one per step."""

    def __init__(
        self,
        tier: Tier,
        keep: set[int],
        *,
        offload_bytes: float,
        group_bytes: int,
        min_bytes: int,
        prefetch: bool,
    ) -> None:
        self._tier = tier
        self._keep = keep
        self._offload_bytes = offload_bytes
        self._group_bytes = group_bytes
        self._min_bytes = min_bytes
        self._prefetch = prefetch
        self._groups = [_Group()]
        # While a weak reference to a storage exists, no other storage gets its address.
        self._seen: dict[tuple[int, int], tuple[StorageWeakRef, _Record]] = {}
        self._offset = 0
        self.counters = {"stored": 0, "stored_bytes": 0, "shared": 0, "loaded": 0, "groups": 1}

    def pack(self, tensor: Tensor) -> Tensor | _Packed:
        """Called by autograd for each tensor that it saves."""
        storage = tensor.untyped_storage()
        if storage.nbytes() < self._min_bytes or storage.data_ptr() in self._keep:
            return tensor
        weak = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        # The version distinguishes the states of a storage before and after an in-place change.
        key = (weak.cdata, tensor._version)
        if key in self._seen:
            _, record = self._seen[key]
            self.counters["shared"] += 1
        elif self._offset < self._offload_bytes:
            record = self._store(storage, tensor.device)
            self._seen[key] = weak, record
        else:
            return tensor
        return _Packed(
            record, tensor.dtype, tensor.shape, tensor.stride(), int(tensor.storage_offset())
        )

    def _store(self, storage: torch.UntypedStorage, device: torch.device) -> _Record:
        nbytes = storage.nbytes()
        group = self._groups[-1]
        if group.nbytes and group.nbytes + nbytes > self._group_bytes:
            group = self._next_group()
        data = torch.empty(0, dtype=torch.uint8, device=device).set_(storage)
        record = _Record(len(self._groups) - 1, self._offset, nbytes)
        self._tier.store(self._offset, data)
        self._offset += -(-nbytes // ALIGNMENT) * ALIGNMENT
        group.records.append(weakref.ref(record))
        group.sources.append(data)
        group.nbytes += nbytes
        self.counters["stored"] += 1
        self.counters["stored_bytes"] += nbytes
        return record

    def _next_group(self) -> _Group:
        """Close the current group and free the device memory of the one before it."""
        self._groups[-1].fence = self._tier.fence()
        if len(self._groups) > 1:
            self._release(self._groups[-2])
        self._groups.append(_Group())
        self.counters["groups"] += 1
        return self._groups[-1]

    def _release(self, group: _Group) -> None:
        if group.fence is not None:
            group.fence.wait()
        group.sources.clear()

    def end_of_forward(self) -> None:
        """Free the device memory of the last groups: nothing more is saved."""
        self._groups[-1].fence = self._tier.fence()
        for group in self._groups[-2:]:
            self._release(group)
        self._seen.clear()

    def unpack(self, packed: Tensor | _Packed) -> Tensor:
        """Called by autograd when backward needs a saved tensor."""
        if isinstance(packed, Tensor):
            return packed
        record = packed.record
        if record.loading is None:
            self._load(record.group)
        if self._prefetch and record.group > 0:
            self._load(record.group - 1)
        assert record.loading is not None
        data = record.loading.result()
        empty = torch.empty(0, dtype=packed.dtype, device=data.device)
        return empty.set_(
            data.untyped_storage(), packed.storage_offset, packed.shape, packed.stride
        )

    def _load(self, group: int) -> None:
        """Start to load the storages of a group that backward still needs."""
        for reference in self._groups[group].records:
            record = reference()
            if record is not None and record.loading is None:
                record.loading = self._tier.load(record.offset, record.nbytes)
                self.counters["loaded"] += 1
        self._groups[group].records.clear()


class Offload(InCore):
    """Saved activations are offloaded until backward; any normalization."""

    name = "offload"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Options:
        """How saved activations are offloaded.

        Attributes:
            tier: "host" is pinned memory beside a CUDA device, "disk" a temporary file;
                ``None`` is host on CUDA and disk on a CPU.
            group_bytes: working set of a group. At most three groups are on the device at once.
            keep_bytes_on_device: this much of what is saved stays on the device.
            min_bytes: smaller tensors stay.
            prefetch: load the next group while one computes.
            host_limit_bytes: most host memory to pin; ``None`` for no limit.
            scratch: folder for the disk tier; ``None`` for the system's temporary folder.
        """

        tier: Literal["host", "disk"] | None = None
        group_bytes: int = 2**30
        keep_bytes_on_device: int = 0
        min_bytes: int = 2**20
        prefetch: bool = True
        host_limit_bytes: int | None = None
        scratch: Path | None = None

    def __init__(self, run: RunOptions, options: Options) -> None:
        self.run = run
        self.settings = options
        self._tier: Tier | None = None

    def _get_tier(self) -> Tier:
        if self._tier is None:
            device = self.run.torch_device
            kind = self.settings.tier or ("host" if device.type == "cuda" else "disk")
            if kind == "host" and device.type != "cuda":
                raise ConfigError("the host tier is memory beside a CUDA device; on a CPU use disk")
            if kind == "disk" and device.type != "cpu":
                raise ConfigError("the disk tier serves a CPU; on CUDA use host")
            if kind == "host":
                self._tier = PinnedTier(device, self.settings.host_limit_bytes)
            else:
                self._tier = DiskTier(self.settings.scratch)
            # The tier outlives a step and is closed with the mode.
            weakref.finalize(self, self._tier.close)
        return self._tier

    def close(self) -> None:
        """Free the tier's memory or disk space; the next step allocates it again."""
        if self._tier is not None:
            self._tier.close()
            self._tier = None

    def step(
        self, network: StagedNetwork, source: ImageSource, loss_fn: LossFunction
    ) -> StepResult:
        """One update of exact gradients with offloaded activations (``MemoryMode.step``)."""
        meter = Meter(self.run.torch_device)
        image = self._image(network, source)
        tier = self._get_tier()
        profiles = profile_network(
            network, source.size, batch=source.batch, dtype=self.run.autocast
        )
        saved = sum(p.saved_bytes for p in profiles)
        away = (
            max(0, saved - self.settings.keep_bytes_on_device)
            if self.settings.keep_bytes_on_device
            else math.inf
        )
        tier.reserve(int(min(saved, away) * PREDICTION_MARGIN))
        keep = {t.untyped_storage().data_ptr() for t in [*network.parameters(), *network.buffers()]}
        swapper = Swapper(
            tier,
            keep,
            offload_bytes=away,
            group_bytes=self.settings.group_bytes,
            min_bytes=self.settings.min_bytes,
            prefetch=self.settings.prefetch,
        )
        try:
            with torch.autograd.graph.saved_tensors_hooks(swapper.pack, swapper.unpack):
                with autocast(self.run):
                    embedding = network.embed(image)
                del image
                logits = network.classify(embedding)
                del embedding
                loss = loss_fn(logits)
            swapper.end_of_forward()
            self.run.report(1 / 3)
            loss.backward()  # type: ignore[no-untyped-call]
        finally:
            tier.synchronize()
        self.run.report(1.0)
        return StepResult(loss.item(), logits.detach().cpu(), meter.read(swapper.counters))
