"""``python -m workers.device auto``: the device as JSON. Run once by a worker at its start."""

import json
import sys
from typing import Any

import torch

from wsi.errors import WsiError
from wsi.models.runtime import resolve_device


def describe_device(device: str) -> dict[str, Any]:
    """Name, and bytes of memory, of a device. Raises ``ConfigError`` where it is not there."""
    found = resolve_device(device)
    if found.type != "cuda":
        return {"device": str(found)}
    free, total = torch.cuda.mem_get_info(found)
    return {
        "device": str(found),
        "name": torch.cuda.get_device_name(found),
        "device_free_bytes": free,
        "device_total_bytes": total,
    }


def main() -> None:
    """Entry point."""
    try:
        sys.stdout.write(json.dumps(describe_device(sys.argv[1])) + "\n")
    except (WsiError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
