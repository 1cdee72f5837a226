"""Asking a separate process whether a file is a readable slide."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsi import errors
from wsi.geometry import Mpp
from wsi.slides.stated import Stated

_log = logging.getLogger(__name__)

_KINDS = {
    kind.kind: kind
    for kind in (
        errors.UnreadableSlideError,
        errors.UnsupportedSlideError,
        errors.NotASlideError,
        errors.DamagedSlideError,
        errors.MppError,
    )
}


@dataclass(frozen=True, kw_only=True)
class SlideFacts:
    """What a readable slide says of itself.

    Attributes:
        entry: what opens it: the path itself, or in a folder its file or the folder that is it.
        mpp, mpp_y: micrometres per level-0 pixel along x and y, true or not.
        mpp_by_tags_alone: see ``wsi.slides.stated.Stated``.
    """

    entry: str
    vendor: str
    width: int
    height: int
    levels: int
    mpp: float | None
    mpp_y: float | None
    mpp_by_tags_alone: bool
    magnification: float | None

    @property
    def stated(self) -> Stated:
        """The resolution that it states."""
        mpp = Mpp(self.mpp, self.mpp_y) if self.mpp and self.mpp_y else None
        return Stated(mpp=mpp, by_tags_alone=self.mpp_by_tags_alone)


def check_in_process(path: Path, name: str, *, timeout_s: float, memory_bytes: int) -> SlideFacts:
    """Check a slide under limits of time and memory.

    Raises:
        SlideError: of the kind that ``wsi.slides.check_slide`` found; ``DamagedSlideError`` also
            where reading the file takes too long or crashes the reader.
    """
    command = [sys.executable, "-m", "service.slides.check_process", str(path), name]
    command += [str(memory_bytes), str(max(1, int(timeout_s)))]
    # The child needs no secret of ours; one thread is plenty and reserves little memory.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WSI_")}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=timeout_s,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise errors.DamagedSlideError(
            name, f"checking it was stopped after {timeout_s:g} seconds; copy or scan it again"
        ) from None
    if done.returncode != 0:
        _log.warning(
            "the check of %s ended with %d: %s",
            name,
            done.returncode,
            done.stderr.decode(errors="replace")[-2000:],
        )
        raise errors.DamagedSlideError(name, "reading it crashes the reader, so it was refused")
    return facts_of(json.loads(done.stdout), name)


def facts_of(answer: dict[str, Any], name: str) -> SlideFacts:
    """What the process answered.

    Raises:
        SlideError: it refuses the slide.
    """
    if "kind" in answer:
        raise _KINDS.get(answer["kind"], errors.DamagedSlideError)(name, answer["reason"])
    return SlideFacts(**answer)
