"""After the tests: a file of the library below 80 % must say why, in a comment with "Coverage"."""

import json
import subprocess
import sys
from pathlib import Path

FLOOR = 80.0


def main() -> None:
    command = [sys.executable, "-m", "coverage", "json", "-q", "-o", "-"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    silent = [
        f"{name}: {entry['summary']['percent_covered']:.0f} %"
        for name, entry in report["files"].items()
        if entry["summary"]["percent_covered"] < FLOOR
        and "# Coverage" not in Path(name).read_text(encoding="utf-8")
    ]
    if silent:
        sys.exit(f"below {FLOOR:.0f} % without a reason in the file: " + "; ".join(silent))


if __name__ == "__main__":
    main()
