"""Patches of a slide: what is asked, where they lie, and their pixels as a stream."""

from wsi.patches.grid import PatchGrid, PatchSpec, resolve_grid
from wsi.patches.stream import DamagedPatch, PatchBatch, PatchStream

__all__ = ["DamagedPatch", "PatchBatch", "PatchGrid", "PatchSpec", "PatchStream", "resolve_grid"]
