"""Several slides a patient: the bags of one patient joined into one, with one label."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.data.bags import Bag
from wsi.errors import DatasetError


@dataclass(frozen=True)
class PatientBag(Bag):
    """All patches of a patient.

    Attributes:
        path: of the first slide.
        name: the patient.
        slides: the patient's bags, by name: the order of a table does not matter.
    """

    slides: tuple[Bag, ...]

    def read(self) -> NDArray[np.float32]:
        """(N, D) float32 embeddings of all slides, one slide after another.

        Raises:
            DatasetError: a slide cannot be read, or slides differ in width.
        """
        parts = [slide.read() for slide in self.slides]
        if len({part.shape[1] for part in parts}) > 1:
            raise DatasetError(
                f"patient {self.patient}: slides' embeddings differ in width: all must come from "
                "one encoder"
            )
        return np.concatenate(parts)

    @property
    def members(self) -> tuple[Bag, ...]:
        return self.slides


def join_patients(bags: Sequence[Bag], classes: Sequence[str], *, worst: bool) -> list[Bag]:
    """One bag a patient.

    Args:
        bags: of slides; a patient's slides are in one split.
        classes: names, in the order of labels.
        worst: slides of one patient may differ, and the last of their classes counts. What is
            learned then is the distribution of the worst slide's class where labels are soft, the
            slides taken as independent.

    Returns:
        Patients in the order in which they come first.

    Raises:
        DatasetError: labels of one patient differ and ``worst`` is not asked, or a patient is in
            two splits.
    """
    slides_of: dict[str, list[Bag]] = defaultdict(list)
    for bag in bags:
        slides_of[bag.patient].append(bag)
    return [
        _join(patient, tuple(sorted(slides, key=lambda bag: bag.name)), classes, worst)
        for patient, slides in slides_of.items()
    ]


def _join(patient: str, slides: tuple[Bag, ...], classes: Sequence[str], worst: bool) -> PatientBag:
    first, labels = slides[0], {slide.label for slide in slides}
    if len({slide.split for slide in slides}) > 1:
        raise DatasetError(f"patient {patient}: slides are in more than one split")
    if len(labels) > 1 and not worst:
        told = ", ".join(f"{slide.name} {classes[slide.label]}" for slide in slides)
        raise DatasetError(
            f"patient {patient}: slides have different labels ({told}): one label per patient is "
            "needed, or the rule that the worst one counts"
        )
    targets = np.stack([slide.target_k for slide in slides])
    return PatientBag(
        path=first.path,
        name=patient,
        label=max(labels),
        target_k=_worst(targets) if worst else targets.mean(0),
        patient=patient,
        split=first.split,
        slides=slides,
    )


def _worst(targets_sk: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K,) distribution of the highest class of several independent slides."""
    if len(targets_sk) == 1:  # no rounding where nothing is joined
        return np.asarray(targets_sk[0], np.float32)
    at_most = targets_sk.astype(np.float64).cumsum(1)
    at_most /= at_most[:, -1:]
    return np.asarray(np.diff(at_most.prod(0), prepend=0.0), np.float32)
