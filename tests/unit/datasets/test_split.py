"""Splits: whole groups, strata in proportion."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi.datasets.split import NAMES, SplitSpec, split_lines
from wsi.errors import ConfigError, DatasetError


def lines(patients: int, *, slides: int = 2, sites: int = 3) -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    found = []
    for patient in range(patients):
        label, site = ("benign", "cancer")[patient % 4 == 0], f"site{rng.integers(sites)}"
        for slide in range(1 + patient % slides):
            found.append(
                {"path": f"{patient}-{slide}", "patient": f"p{patient}", "label": label,
                 "site": site}
            )  # fmt: skip
    return found


def test_patients_stay_whole_and_every_stratum_keeps_its_share() -> None:
    made = lines(400, slides=3)
    splits = split_lines(made, SplitSpec(stratify=("label", "site")), "t")
    of_patient = defaultdict(set)
    for line, split in zip(made, splits, strict=True):
        of_patient[line["patient"]].add(split)
    assert {len(found) for found in of_patient.values()} == {1}
    for stratum in {(line["label"], line["site"]) for line in made}:
        inside = [
            split
            for line, split in zip(made, splits, strict=True)
            if (line["label"], line["site"]) == stratum
        ]
        shares = [inside.count(name) / len(inside) for name in NAMES]
        np.testing.assert_allclose(shares, [0.7, 0.15, 0.15], atol=0.03)


def test_the_same_seed_makes_the_same_split_and_another_one_another() -> None:
    made = lines(60)
    first, again, other = (
        split_lines(made, SplitSpec(stratify=("label",), seed=seed), "t") for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_by_site_a_patient_of_two_sites_joins_them() -> None:
    made = lines(30, sites=6)
    made.append({"path": "x", "patient": made[0]["patient"], "label": "benign", "site": "site0"})
    made.append({"path": "y", "patient": made[0]["patient"], "label": "benign", "site": "site5"})
    splits = split_lines(made, SplitSpec(by="site", fractions=(0.5, 0.5)), "t")
    of_site, of_patient = defaultdict(set), defaultdict(set)
    for line, split in zip(made, splits, strict=True):
        of_site[line["site"]].add(split)
        of_patient[line["patient"]].add(split)
    assert {len(found) for found in (*of_site.values(), *of_patient.values())} == {1}
    assert set(splits) == {"train", "val"}


def test_one_file_under_two_patients_stays_in_one_split() -> None:
    made = [*lines(20), {"path": "0-0", "patient": "p19", "label": "benign", "site": "site1"}]
    splits = dict(
        zip([line["patient"] for line in made], split_lines(made, SplitSpec(), "t"), strict=True)
    )
    assert splits["p0"] == splits["p19"]


@settings(max_examples=60, deadline=None)
@given(
    patients=st.lists(st.integers(0, 12), min_size=13, max_size=60),
    labels=st.lists(st.sampled_from(["a", "b", "c"]), min_size=60, max_size=60),
    fractions=st.sampled_from([(0.7, 0.15, 0.15), (0.8, 0.2), (0.34, 0.33, 0.33)]),
    seed=st.integers(0, 5),
)
def test_any_table_is_split_whole_and_no_split_is_empty(
    patients: list[int], labels: list[str], fractions: tuple[float, ...], seed: int
) -> None:
    made = [
        {"path": str(i), "patient": f"p{patient}", "label": label}
        for i, (patient, label) in enumerate(zip(patients, labels, strict=False))
    ]
    spec = SplitSpec(stratify=("label",), fractions=fractions, seed=seed)
    if len(set(patients)) < len(fractions):
        with pytest.raises(DatasetError, match="cannot fill"):
            split_lines(made, spec, "t")
        return
    splits = split_lines(made, spec, "t")
    assert set(splits) == set(NAMES[: len(fractions)])
    assert len({(line["patient"], s) for line, s in zip(made, splits, strict=True)}) == len(
        set(patients)
    )


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"add up to 1, got 0\.7, 0\.2"):
        SplitSpec(fractions=(0.7, 0.2))
    with pytest.raises(DatasetError, match="column missing: hospital"):
        split_lines(lines(9), SplitSpec(by="hospital"), "t")
    with pytest.raises(DatasetError, match="t, line 3: patient is empty"):
        split_lines([*lines(1), {**lines(1)[0], "patient": " "}], SplitSpec(), "t")
