"""How a real API, its check process and the worker's tissue step take damaged slide files.

``python -m benchmarks.mutated_slides`` writes results/mutated_slides.md.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.conftest import data_dir
from tests.integration.deployment import add_toy, deployment
from tests.integration.mutated_slides import Outcomes, run, small_sources

RESULT = Path(__file__).parent / "results" / "mutated_slides.md"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    wish = parser.parse_args()
    real = data_dir()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sources = small_sources(folder / "sources", real / "wsi" / "edge" if real else None)
        with deployment(folder / "data") as place:
            add_toy(place)
            api, client = place.start_api(
                WSI_CHECK_TIMEOUT_S="20", WSI_CHECK_MEMORY_BYTES=str(2 << 30)
            )
            begun = time.monotonic()
            outcomes = run(place, client, sources, wish.count, wish.seed)
            seconds = time.monotonic() - begun
            alive = api.poll() is None and client.get("ready").status_code == 200
            left = len(list((place.folder / "incoming").iterdir()))
        text = report(outcomes, sources, wish.count, seconds, alive=alive, left=left)
    wish.out.write_text(text)
    print(text)


def report(
    outcomes: Outcomes,
    sources: list[Path],
    count: int,
    seconds: float,
    *,
    alive: bool,
    left: int,
) -> str:
    """The figures as Markdown."""
    answers = sorted({answer for _, answer in outcomes.counts})
    rows = [
        f"| {kind} | " + " | ".join(str(outcomes.counts[kind, name] or "") for name in answers)
        for kind in dict.fromkeys(kind for kind, _ in outcomes.counts)
    ]
    total: Counter[str] = Counter()
    for (_, answer), number in outcomes.counts.items():
        total[answer] += number
    tissue = ", ".join(f"{name} {number}" for name, number in outcomes.tissue.most_common())
    names = ", ".join(path.name for path in sources)
    wrong = "\n".join(f"- {text}" for text in outcomes.wrong) or "None."
    return f"""# Damaged slide files

{count} damaged copies of {len(sources)} small files ({names}),
uploaded one by one to a real API process; each accepted one is looked at as the page does
(thumbnail, tiles, job), and a worker's tissue step runs on it. By
`python -m benchmarks.mutated_slides`.

| damage | {" | ".join(answers)} |
|---|{"---|" * len(answers)}
{chr(10).join(row + " |" for row in rows)}
| **all** | {" | ".join(str(total[name]) for name in answers)} |

- API alive at the end: {"yes" if alive else "**no**"}; files left in staging: {left}.
- Most memory: API {outcomes.api_mib:.0f} MiB, tissue step {outcomes.worker_mib:.0f} MiB.
- Tissue step on the accepted ones: {tissue or "none"}.
- {seconds / count:.2f} s a file, the check process included.

Answers that were no success and no documented refusal, or ended a process:

{wrong}
"""


if __name__ == "__main__":
    main()
