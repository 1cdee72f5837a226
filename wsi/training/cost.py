"""What a training took: time and memory, over all the runs that it needed."""

# Coverage is below 80 % where there is no GPU: the rest runs on a CUDA device, by tests/gpu.

from time import perf_counter

import torch

from wsi.streaming.meter import peak_host_bytes


class CostMeter:
    """Started at creation; each ``add_to`` counts what came since the one before.

    Args:
        device: that the network is on.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = perf_counter()
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # starts CUDA where nothing has yet
            torch.cuda.reset_peak_memory_stats(device)

    def add_to(self, cost: dict[str, float], *, device_bytes: int = 0) -> None:
        """Bring a record up to date: ``seconds``, ``peak_host_bytes``, ``peak_device_bytes``.

        Args:
            cost: of this training until now, changed in place.
            device_bytes: a peak on the GPU that the caller knows of, where steps reset torch's.
        """
        now = perf_counter()
        cost["seconds"] = cost.get("seconds", 0.0) + now - self._last
        self._last = now
        peaks = {"peak_host_bytes": peak_host_bytes()}
        if self._device.type == "cuda":
            torch_peak = torch.cuda.max_memory_allocated(self._device)
            peaks["peak_device_bytes"] = max(device_bytes, torch_peak)
        for name, peak in peaks.items():
            cost[name] = max(cost.get(name, 0), peak)
