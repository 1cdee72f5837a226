"""The check of an incoming slide without the process of its own, which takes a second to start."""

from pathlib import Path

from service.slides.check import SlideFacts, facts_of
from service.slides.check_process import check


def check_here(path: Path, name: str, *, timeout_s: float, memory_bytes: int) -> SlideFacts:
    """What ``check_in_process`` answers for slides that break no limit."""
    return facts_of(check(str(path), name), name)
