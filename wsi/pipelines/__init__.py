"""Complete analyses of a slide, found by name."""

PIPELINES = {
    "fusion": "wsi.pipelines.fusion:FusionPipeline",
    "patch": "wsi.pipelines.patch:PatchPipeline",
    "whole-slide": "wsi.pipelines.whole_slide:WholeSlidePipeline",
}
"""Each pipeline's name and class, as in an entry point: listing them imports nothing."""
