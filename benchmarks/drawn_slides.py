"""Valid slides drawn at random, through the reader and the tissue finder: a fuzz of meaning.

``python -m benchmarks.drawn_slides`` writes results/drawn_slides.md.
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.integration.meaning import IOU, MPP_OFF, Meanings, read_all
from wsi.testing.drawn_slides import drawn_slides

RESULT = Path(__file__).parent / "results" / "drawn_slides.md"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = read_all(drawn_slides(Path(folder), asked.count, asked.seed))
    text = report(found, asked.count, asked.seed, time.monotonic() - begun)
    asked.out.write_text(text)
    print(text)


def report(found: Meanings, count: int, seed: int, seconds: float) -> str:
    """The figures as Markdown."""
    answers = sorted({answer for _, answer in found.counts})
    rows = [
        f"| {odd} | " + " | ".join(str(found.counts[odd, name] or "") for name in answers) + " |"
        for odd in sorted({odd for odd, _ in found.counts})
    ]
    wrong = "\n".join(f"- {text}" for text in found.wrong) or "None."
    return f"""# Drawn slides

{count} valid slide files drawn at random (seed {seed}), each with its truth, in {seconds:.0f} s;
their pieces of tissue measure 0.7 mm and more.
Wrong is a slide that is accepted with a tissue IoU below {IOU}, a resolution off by more than
{MPP_OFF:.0%} or a dot off by more than a cell, or one that is refused though nothing about it is
odd. By `python -m benchmarks.drawn_slides --count {count} --seed {seed}`.

| odd about it | {" | ".join(answers)} |
|---|{"---|" * len(answers)}
{chr(10).join(rows)}

Of the accepted ones: lowest tissue IoU {found.lowest_iou:.3f}, resolution off by at most
{found.most_mpp_off:.2%}, dots by at most {found.most_dot_off:.2f} cells.

Wrong: {len(found.wrong)}

{wrong}
"""


if __name__ == "__main__":
    main()
