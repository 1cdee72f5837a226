"""What the supervisor of the embedded worker keeps in its own process."""

import subprocess
import sys


def test_the_supervisor_does_not_load_torch() -> None:
    code = (
        "import sys, workers.supervisor, workers.celery_app, workers.__main__; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
