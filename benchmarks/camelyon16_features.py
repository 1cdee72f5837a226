"""AUC of slide-level aggregators on Camelyon16 heatmap features, by repeated cross-validation.

The tables are those of the 266 training slides that are public; they name no patients, so each
slide counts as one. The test table is not among them: score one with `wsi evaluate aggregator`.
Nothing says that the network behind these heatmaps had not seen the same slides: on others the AUC
may be lower.

    python -m benchmarks.camelyon16_features [--data ../shared/data] [--repeats 10] [--folds 5]
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import write_result
from wsi.data.heatmap_features import FeatureTable, read_features
from wsi.evaluation.bootstrap import Bootstrap, Estimate, interval, resample
from wsi.evaluation.ranking import cumulate
from wsi.evaluation.report import to_json
from wsi.models.aggregators.trees import KINDS
from wsi.training.aggregator import TreeTraining, cross_validate

CLASSES = ("normal", "tumor")
_TABLES = ("normal", "tumor")


def read_tables(data: Path) -> FeatureTable:
    """Both published training tables as one."""
    folder = data / "results"
    return read_features(
        [folder / f"camelyon16_train_heatmap_features_{name}.csv" for name in _TABLES], CLASSES
    )


def best_single_feature(table: FeatureTable) -> dict[str, Any]:
    """The feature that alone ranks best: what a trained aggregator must beat.

    It is chosen on the same slides that it is judged on, which flatters it.
    """
    assert table.labels_n is not None
    truth = table.labels_n == 1
    areas = {
        name: float(cumulate(truth, table.values_nf[:, i]).auc_b()[0])
        for i, name in enumerate(table.features)
    }
    name = max(areas, key=lambda key: areas[key])
    values = table.values_nf[:, table.features.index(name)]
    replicates = resample(table.names_n, Bootstrap(), lambda w: cumulate(truth, values, w).auc_b())
    found: Estimate = interval(areas[name], replicates, len(truth), Bootstrap())
    return {"feature": name, "auc": to_json(found)}


def measure(table: FeatureTable, folds: int, repeats: int) -> dict[str, Any]:
    """AUC of each kind of aggregator, with its defaults: nothing was tuned on these slides."""
    found = {}
    for kind in KINDS:
        config = TreeTraining(
            name=kind,
            kind=kind,  # type: ignore[arg-type]
            classes=CLASSES,
            folds=folds,
            repeats=repeats,
        )
        result = cross_validate(table, config)
        found[kind] = {
            "auc": to_json(result.auc),
            "auc_of_each_repeat": [round(float(area), 4) for area in result.auc_r],
            "spread_between_repeats": round(float(np.std(result.auc_r, ddof=1)), 4)
            if repeats > 1
            else None,
        }
    return found


def main() -> None:
    """Measure and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    data = Path(os.environ.get("WSI_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--folds", type=int, default=5)
    asked = parser.parse_args()
    table = read_tables(asked.data)
    assert table.labels_n is not None
    measured = measure(table, asked.folds, asked.repeats)
    single = best_single_feature(table)
    words = ", ".join(
        f"{kind} {m['auc']['value']:.4f} (95 % interval {m['auc']['low']:.4f} to "
        f"{m['auc']['high']:.4f})"
        for kind, m in measured.items()
    )
    line = (
        f"Camelyon16 heatmap features, {len(table.names_n)} training slides, {asked.repeats} x "
        f"{asked.folds}-fold cross-validation by slide: AUC {words}; best single feature "
        f"({single['feature']}, chosen on the same slides) {single['auc']['value']:.4f}. The "
        "network behind the heatmaps may have been trained on these slides: others may score lower."
    )
    write_result(
        "camelyon16_features",
        line,
        {
            "slides": {name: int((table.labels_n == i).sum()) for i, name in enumerate(CLASSES)},
            "folds": asked.folds,
            "repeats": asked.repeats,
            "aggregators": measured,
            "best_single_feature": single,
        },
    )


if __name__ == "__main__":
    main()
