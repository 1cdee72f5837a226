"""Prints what the API's image installs: all that pyproject.toml lists but torch and its followers.

``pip install '.[service]'`` also brings the library's own dependencies, which score slides. The API
never does, and tests show that it imports none of what is left out here.
"""

import re
import sys
import tomllib
from pathlib import Path

LEFT_OUT = {"torch", "torchvision", "grad-cam", "safetensors", "scikit-learn"}
# Every endpoint is answered: none says 501 for want of a library.
EXTRAS = ("service", "otel", "s3", "parquet", "dicom")


def requirements(project: dict[str, object]) -> list[str]:
    """The lines for pip, from the ``[project]`` table."""
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    lines: list[str] = list(project["dependencies"])  # type: ignore[call-overload]
    wanted = list(EXTRAS)
    for extra in wanted:
        for line in extras[extra]:
            if own := re.fullmatch(r"wholeslide\[([\w,]+)\]", line):
                wanted += [name for name in own[1].split(",") if name not in wanted]
            else:
                lines.append(line)
    return [line for line in lines if re.split(r"[\[>=<~!; ]", line)[0] not in LEFT_OUT]


if __name__ == "__main__":
    pyproject = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    sys.stdout.write("\n".join(requirements(pyproject["project"])) + "\n")
