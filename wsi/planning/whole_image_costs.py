"""Costs of the modes that run the image as a whole: in_core, offload and unified."""

from typing import Any

from wsi.planning.cost_model import CostModel
from wsi.streaming.accounting.candidate import Candidate, PlanRow, in_core_bytes

OFFLOAD_GROUP_BYTES = (2**30, 2**28, 2**26)
OFFLOAD_FILLS = 0.8
"""Share of the device's memory that offload fills: tensors of many sizes fragment it."""


def in_core(model: CostModel) -> Candidate:
    """The whole image on the device."""
    rows = tuple(
        PlanRow(p.label, "in-core", "whole", model.saved_bytes(p), model.seconds(p.flop, 3))
        for p in model.profiles
    )
    peak = in_core_bytes(
        model.fixed_bytes, model.image_bytes, model.profiles, training=model.training
    )
    host = model.image_bytes if model.budget.on_cuda else 0
    total = sum(row.seconds for row in rows)
    return Candidate("in_core", {}, rows, peak, host, 0, total, model.too_large())


def offload(model: CostModel, group_bytes: int) -> Candidate:
    """Saved activations that do not fit are moved to host memory, or to disk on a CPU."""
    cuda = model.budget.on_cuda
    saved = sum(p.saved_bytes for p in model.profiles)
    link = model.speed.link_bytes_per_s if cuda else model.speed.disk_bytes_per_s
    working = int(model.overheads.offload * max(p.live_bytes for p in model.profiles))
    moving = model.fixed_bytes + model.image_bytes + min(3 * group_bytes, saved) + working
    headroom = OFFLOAD_FILLS * (model.budget.device_bytes or 0) - moving
    stay = min(saved, max(0, int(headroom)))
    leaving = saved - stay
    rows, left = [], leaving
    for p in model.profiles:
        moved = min(left, p.saved_bytes)
        left -= moved
        # Copies overlap the computation, in forward and in backward.
        forward = max(model.seconds(p.flop, 1), moved / link)
        backward = max(model.seconds(p.flop, 2), moved / link)
        here = min(moved, 3 * group_bytes) + p.saved_bytes - moved
        rows.append(PlanRow(p.label, "offload", "whole", here, forward + backward))
    host, disk = (leaving + model.image_bytes, 0) if cuda else (0, leaving)
    options: dict[str, Any] = {"group_bytes": group_bytes, "keep_bytes_on_device": stay}
    total = sum(row.seconds for row in rows)
    return Candidate(
        "offload", options, tuple(rows), moving + stay, host, disk, total, model.too_large()
    )


def unified(model: CostModel) -> Candidate:
    """Managed memory over device and host; planned only on request."""
    whole = in_core(model)
    need, device = whole.device_bytes, model.budget.device_bytes
    refusal = whole.refusal or (None if device is not None else "it needs a CUDA device")
    inside = need if device is None else min(need, device)
    options: dict[str, Any] = {"limit_bytes": need}
    rows = tuple(PlanRow(r.label, "unified", r.tile, r.device_bytes, r.seconds) for r in whole.rows)
    migration = 2 * (need - inside) / model.speed.link_bytes_per_s
    return Candidate(
        "unified", options, rows, inside, need - inside, 0, whole.seconds + migration, refusal
    )
