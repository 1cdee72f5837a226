"""Whom a model learned from: recorded in its card, so that nobody is tested or fitted on them.

A card holds no patient names, only a digest of each. Whoever knows a name can tell whether it is
among them, which is the purpose.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from wsi.identifiers import normal_identifier, spelling_of
from wsi.slide_names import slide_stem

KEY = "seen"
_FOLDERS = re.compile(r"[/\\]")
_EARLIER = re.compile(
    r"(?:.*[/\\])?(.+)\.(?:svs|tiff?|ndpi|mrxs|scn|vms|vmu|bif|svslide|dcm|czi|png|jpe?g)", re.I
)


def subject_digest(name: str) -> str:
    """Sixteen hex digits for a patient, or for a slide by its file name.

    The same slide may lie elsewhere in another table, and a feature table leaves its ending out.
    """
    file = _FOLDERS.split(name.strip())[-1]
    stem = slide_stem(file)
    return _key(name.strip() if stem == file else stem)


def subject_digests(name: str) -> frozenset[str]:
    """``subject_digest`` of the normal form, and what earlier versions wrote instead: the name as
    it stood in the table, and ``a.ome`` for ``a.ome.tif``."""
    file = _EARLIER.fullmatch(name.strip())
    earlier = {subject_digest(name), _key(file[1] if file else name.strip())}
    return frozenset({subject_digest(normal_identifier(name)), *earlier})


def similar_subjects_digest(name: str) -> str:
    """The key of all patients whose identifiers look like this one; see ``wsi.identifiers``."""
    return _key("\t".join(("alike", *(spelling_of(normal_identifier(name)) or (name,)))))


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def describe_subjects(
    train: Iterable[str],
    validation: Iterable[str] = (),
    *,
    inherited: frozenset[str] | None = frozenset(),
) -> dict[str, dict[str, list[str]]]:
    """What a card's ``training`` says of the patients.

    Args:
        train: patients and slides that the weights were fitted to.
        validation: those that chose the best epoch, no more.
        inherited: what ``training_subjects`` says of the model that it started from. Where that one
            does not say, this one cannot either: nothing is recorded.
    """
    if inherited is None:
        return {}
    names = set(train)
    learned = {subject_digest(normal_identifier(name)) for name in names} | inherited
    learned |= {similar_subjects_digest(name) for name in names}
    chosen_by = {subject_digest(normal_identifier(name)) for name in validation} - learned
    return {KEY: {"train": sorted(learned), "validation": sorted(chosen_by)}}


def training_subjects(training: Mapping[str, Any]) -> frozenset[str] | None:
    """Keys of whom and what a model's weights were fitted to, its aggregator's included.

    Args:
        training: of its card.

    Returns:
        ``None`` where the card, or that of its aggregator, does not say.
    """
    parts = [training, *([training["aggregator"]] if "aggregator" in training else [])]
    if any(KEY not in part for part in parts):
        return None
    return frozenset(key for part in parts for key in part[KEY]["train"])
