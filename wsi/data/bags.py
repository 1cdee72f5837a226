"""Bags: the patch embeddings of a slide, with its label."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from wsi.data.raters import dawid_skene, describe, read_ratings
from wsi.data.tables import Split, read_table
from wsi.errors import DatasetError, StoreError
from wsi.storage import SlideStore

KEY = "embeddings"
"""Name of the (N patches, D) array in a file or store."""


@dataclass(frozen=True)
class Bag:
    """One slide of a bag table.

    Attributes:
        path: file or store of its embeddings.
        name: as the table writes it.
        label: index of its class.
        target_k: (K,) what to learn: one-hot, or soft labels.
        patient, split: as in the table.
    """

    path: Path
    name: str
    label: int
    target_k: NDArray[np.float32]
    patient: str
    split: Split

    def read(self) -> NDArray[np.float32]:
        """(N, D) float32 embeddings.

        Raises:
            DatasetError: they cannot be read, are empty, or not finite.
        """
        values = read_embeddings(self.path)
        if values.ndim != 2 or not len(values):
            raise DatasetError(f"{self.path}: embeddings of shape {values.shape}, not (N, D)")
        if not np.isfinite(values).all():
            raise DatasetError(f"{self.path}: some embeddings are not finite")
        return values.astype(np.float32)

    @property
    def members(self) -> tuple["Bag", ...]:
        """The slides in it: itself, unless several were joined."""
        return (self,)


def read_embeddings(path: Path) -> NDArray[Any]:
    """The array ``embeddings`` of a .safetensors or .npz file, or of a slide store.

    Args:
        path: a file; a slide store's folder; or, where it holds several, one artifact in it:
            ``STORE/embeddings/DIGEST``.

    Raises:
        DatasetError: it is not there, or the store holds several.
    """
    try:
        if path.is_dir():
            return _from_store(path)
        if path.suffix == ".safetensors":
            return load_file(path)[KEY]
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return np.asarray(arrays[KEY])
    except KeyError:
        raise DatasetError(f"{path}: it holds no array {KEY!r}") from None
    except (OSError, ValueError, SafetensorError, BadZipFile, StoreError) as error:
        raise DatasetError(f"{path}: the embeddings cannot be read: {error}") from error
    raise DatasetError(f"{path}: embeddings come as .safetensors, .npz or a slide store")


def _from_store(path: Path) -> NDArray[Any]:
    if path.parent.name == KEY:
        return SlideStore(str(path.parent.parent)).get(KEY, path.name).arrays[KEY]
    store = SlideStore(str(path))
    digests = store.digests(KEY)
    if len(digests) != 1:
        raise DatasetError(f"{path}: this slide store holds {len(digests)} embeddings, not one")
    return store.get(KEY, digests[0]).arrays[KEY]


def read_bags(
    table: Path, root: Path, classes: Sequence[str], *, to_learn: bool = True
) -> list[Bag]:
    """The bags of a table: ``path``, ``label``, ``patient``, ``split``.

    Args:
        table: CSV; see ``wsi.data.tables``.
        root: what its paths are relative to.
        classes: of slides, in the order of labels.
        to_learn: insist on training bags of every class; a table to judge by needs none.

    Raises:
        DatasetError: the table is wrong, a label is missing, a patient is in two splits, or files
            are missing.
    """
    rows = read_table(table, classes, root=root, needs_label=to_learn)
    missing = [row.path for row in rows if not (root / row.path).exists()]
    if missing:
        raise DatasetError(
            f"{table}: {len(missing)} of {len(rows)} bags are missing under {root}, "
            f"the first is {missing[0]}"
        )
    one_hot = np.eye(len(classes), dtype=np.float32)
    bags = []
    for row in rows:
        if row.label is None:
            raise DatasetError(f"{table}: {row.path} has no label")
        target = one_hot[row.label]
        bags.append(Bag(root / row.path, row.path, row.label, target, row.patient, row.split))
    return bags


def soft_labels(
    bags: Sequence[Bag], ratings: Path, classes: Sequence[str]
) -> tuple[list[Bag], dict[str, Any]]:
    """Training bags with what several raters said instead of the table's label.

    Validation and test bags keep the table's label, which a model is judged by. Ratings call a
    bag as the table's ``path`` does.

    Returns:
        The bags, and what the model card should say of the raters.

    Raises:
        DatasetError: no rater has seen a training bag.
    """
    read = read_ratings(ratings, classes)
    consensus = dawid_skene(read.labels_nr, len(classes))
    soft = dict(zip(read.slides, consensus.posterior_nk.astype(np.float32), strict=True))
    bare = [bag.name for bag in bags if bag.split == "train" and bag.name not in soft]
    if bare:
        raise DatasetError(f"{ratings}: {len(bare)} training bags have no rating, first {bare[0]}")
    told = [
        dataclasses.replace(bag, target_k=soft[bag.name]) if bag.split == "train" else bag
        for bag in bags
    ]
    return told, describe(read, consensus)


def bags_digest(bags: Sequence[Bag]) -> str:
    """Names the training data: bags, what to learn of each, and their splits, in order."""
    digest = hashlib.sha256()
    for bag in bags:
        digest.update(f"{bag.name}\t{bag.split}\t{bag.patient}\t".encode())
        digest.update(bag.target_k.tobytes())
        if bag.members != (bag,):
            digest.update("\t".join(slide.name for slide in bag.members).encode())
    return digest.hexdigest()
