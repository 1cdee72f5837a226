"""The colour of a class, the same in the page, in QuPath and in every file."""

import re
from collections.abc import Mapping

Colour = tuple[int, int, int]

_KNOWN: Mapping[str, Colour] = {
    "cancer": (200, 0, 0),
    "tumor": (200, 0, 0),
    "tumour": (200, 0, 0),
    "positive": (200, 0, 0),
    "benign": (0, 130, 60),
    "normal": (0, 130, 60),
    "negative": (0, 130, 60),
    "stroma": (20, 110, 190),
    "immune cells": (130, 60, 180),
    "necrosis": (90, 90, 90),
    "artefact": (150, 90, 20),
    "background": (110, 110, 140),
    "unclassified": (70, 80, 95),
}
_REST: tuple[Colour, ...] = (
    (200, 90, 0),
    (0, 120, 130),
    (170, 30, 120),
    (70, 70, 190),
    (110, 110, 0),
    (120, 50, 50),
)


def known_colour(class_name: str) -> Colour | None:
    """RGB, 0..255, of a class whose name says what it is; ``None`` for others."""
    return _KNOWN.get(class_name.strip().lower())


def colour_of(class_name: str) -> Colour:
    """RGB, 0..255. The page has the same rule in ``annotations/classes.ts``."""
    known = known_colour(class_name)
    if known is not None:
        return known
    word = class_name.strip().lower()
    # Not hash(): it differs from process to process.
    return _REST[sum(map(ord, re.sub(r"[^a-z0-9]", "", word))) % len(_REST)]
