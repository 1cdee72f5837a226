"""Tissue and quality layers as a reader of results needs them: without the image libraries."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ArtifactMissingError
from wsi.storage.store import Artifact, SlideStore, spec_digest

KIND = "tissue"
QUALITY_KIND = "quality"


@dataclass(frozen=True)
class TissueLayers:
    """A slide's tissue and what is wrong with it, on one grid that covers the slide exactly.

    Attributes:
        digest: names what made them; equal digests of one slide mean equal layers.
        layers: ``tissue`` first, then each quality layer, to (rows, columns) bool.
        shares: quality layer to the share of the tissue that it covers, 0..1.
        reasons: why the slide is flagged, as sentences; empty where it is not.
    """

    digest: str
    layers: Mapping[str, NDArray[np.bool_]]
    shares: Mapping[str, float]
    reasons: tuple[str, ...]


def tissue_layers(store: SlideStore, mpp: float | None) -> TissueLayers:
    """The layers that a pipeline left in the store.

    Args:
        store: of the slide.
        mpp: the slide's resolution as it is known now; layers made at another one are taken only
            where there are no better ones.

    Raises:
        ArtifactMissingError: no pipeline has looked at this slide yet.
    """
    found = [store.get(QUALITY_KIND, digest) for digest in store.digests(QUALITY_KIND)]
    if not found:
        raise ArtifactMissingError("tissue has not been detected on this slide yet: score it")
    # Those of the slide's present content first: a stored copy may have lost its labels since, and
    # artifacts of earlier versions name no content.
    owner = store.owner
    content = owner.digest if owner is not None else None
    quality = min(
        found,
        key=lambda one: (one.meta["spec"].get("slide_digest") != content, _distance(one, mpp)),
    )
    made_from = {k: v for k, v in quality.meta["spec"].items() if k != "quality"}
    mask = store.get(KIND, spec_digest(made_from)).arrays["mask"]
    layers = {name: layer.astype(bool) for name, layer in quality.arrays.items()}
    return TissueLayers(
        digest=quality.digest,
        layers={"tissue": mask.astype(bool), **layers},
        shares=quality.meta["shares"],
        reasons=tuple(quality.meta["reasons"]),
    )


def _distance(quality: Artifact, mpp: float | None) -> float:
    made_at = float(np.mean(quality.meta["spec"]["slide_mpp"]))
    return abs(made_at - mpp) if mpp is not None else 0.0
