"""Checks one slide in a process of its own: ``python -m service.slides.check_process``.

A hostile file can crash a C library or eat memory. Here it takes nobody with it.
Arguments: path, name, memory limit in bytes, CPU limit in seconds. Answers in JSON on stdout.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Entry point."""
    path, name, memory_bytes, cpu_s = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write(json.dumps(check(path, name)))
    return 0


def check(path: str, name: str) -> dict[str, Any]:
    """What the slide says of itself, or the kind of refusal and its reason."""
    # Imported under the limits, like everything else that this process does.
    from wsi.errors import SlideError
    from wsi.slides import check_slide, open_slide
    from wsi.slides.entry import entry_of

    try:
        check_slide(path, name=name)
        entry = entry_of(Path(path), name).path
        with open_slide(path, name=name) as slide:
            stated = slide.resolution.stated
            return {
                "entry": str(entry),
                "vendor": slide.vendor,
                "width": slide.size.width,
                "height": slide.size.height,
                "levels": len(slide.levels),
                "mpp": stated.x if stated else None,
                "mpp_y": stated.y if stated else None,
                "mpp_by_tags_alone": slide.resolution.by_tags_alone,
                "magnification": slide.magnification,
            }
    except SlideError as error:
        return {"kind": error.kind, "reason": error.reason}
    except MemoryError:
        return {"kind": "damaged", "reason": "reading it takes more memory than a slide may"}


if __name__ == "__main__":
    sys.exit(main())
