"""Tissue and quality of a slide, found once and shared by all pipelines."""

import dataclasses
from typing import Any

import numpy as np

from wsi.slides import SlideReader, require_mpp
from wsi.slides.identity import require_unchanged, slide_digest
from wsi.storage.store import SlideStore, spec_digest
from wsi.storage.tissue_layers import KIND, QUALITY_KIND
from wsi.tissue import (
    QualityReport,
    QualitySpec,
    TissueMask,
    TissueSpec,
    find_quality,
    find_tissue,
)


def tissue_of(slide: SlideReader, store: SlideStore, spec: TissueSpec) -> TissueMask:
    """The slide's tissue mask: from the store, else found now and stored.

    Raises:
        MppError: the slide states no usable resolution.
        DamagedSlideError: the overview cannot be read.
        ChangedSlideError: the slide was replaced meanwhile.
        StoreError: the mask cannot be written.
    """
    made_from = _spec_of(slide, spec)
    digest = spec_digest(made_from)
    if store.has(KIND, digest):
        artifact = store.get(KIND, digest)
        # JSON has no NaN: a mask without a threshold stores none.
        threshold = artifact.meta["threshold"]
        return TissueMask(
            mask=artifact.arrays["mask"].astype(bool),
            size=slide.size,
            spec=spec,
            threshold=float("nan") if threshold is None else float(threshold),
            unclear=bool(artifact.meta["unclear"]),
            warnings=tuple(artifact.meta["warnings"]),
        )
    mask = find_tissue(slide, spec)
    require_unchanged(slide)
    threshold = None if np.isnan(mask.threshold) else mask.threshold
    meta = {
        "spec": made_from,
        "threshold": threshold,
        "unclear": mask.unclear,
        "warnings": list(mask.warnings),
    }
    store.put(KIND, digest, {"mask": mask.mask}, meta, dimensions={"mask": ("y", "x")})
    return mask


def quality_of(
    slide: SlideReader, store: SlideStore, tissue: TissueMask, spec: QualitySpec
) -> QualityReport:
    """The slide's quality layers: from the store, else found now and stored.

    Raises:
        MppError: the slide states no usable resolution.
        ChangedSlideError: the slide was replaced meanwhile.
        StoreError: the layers cannot be written.
    """
    made_from = {**_spec_of(slide, tissue.spec), "quality": dataclasses.asdict(spec)}
    digest = spec_digest(made_from)
    if store.has(QUALITY_KIND, digest):
        artifact = store.get(QUALITY_KIND, digest)
        return QualityReport(
            layers={name: layer.astype(bool) for name, layer in artifact.arrays.items()},
            shares=artifact.meta["shares"],
            usable_share=float(artifact.meta["usable_share"]),
            reasons=tuple(artifact.meta["reasons"]),
        )
    report = find_quality(slide, tissue, spec)
    require_unchanged(slide)
    store.put(
        QUALITY_KIND,
        digest,
        report.layers,
        {
            "spec": made_from,
            "shares": dict(report.shares),
            "usable_share": report.usable_share,
            "reasons": list(report.reasons),
        },
        dimensions=dict.fromkeys(report.layers, ("y", "x")),
    )
    return report


def _spec_of(slide: SlideReader, spec: TissueSpec) -> dict[str, Any]:
    """All that decides the mask: the spec, the slide's content, and its resolution, which the user
    may override."""
    mpp = require_mpp(slide)
    return {
        **dataclasses.asdict(spec),
        "slide_mpp": [mpp.x, mpp.y],
        "slide_digest": slide_digest(slide),
    }
