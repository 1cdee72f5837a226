"""A job that needs more memory than its worker may have, with the limit set for real (RLIMIT_AS).

What the kernel's out-of-memory killer does, a SIGKILL, is done in ``test_faults``: the job ends
FAILED, kind ``worker_lost``, after three tries.
"""

from pathlib import Path

from tests.integration.deployment import add_toy, deployment, submit, upload, wait_status
from tests.integration.test_faults import pool_pids
from tests.unit.service.conftest import write_slide

GIB = 1024**3


def test_a_job_out_of_memory_fails_with_its_reason_and_the_same_worker_goes_on(
    tmp_path: Path,
) -> None:
    greedy = write_slide(tmp_path / "greedy.tif", seed=1)
    modest = write_slide(tmp_path / "modest.tif")
    with deployment(tmp_path / "d") as place:
        add_toy(place, allocate_on="greedy.tif", allocate_bytes=64 * GIB)
        _, client = place.start_api()
        bad = submit(client, upload(client, greedy)["id"], priority=5)
        good = submit(client, upload(client, modest)["id"])
        limit_kib = 6 * GIB // 1024
        worker = place.start(
            "workers", under=["sh", "-c", f'ulimit -v {limit_kib}; exec "$0" "$@"']
        )
        ended = wait_status(client, bad, "FAILED", "SUCCEEDED")
        assert (ended["status"], ended["error_kind"], ended["attempt"]) == (
            "FAILED",
            "out_of_memory",
            1,
        )
        assert ended["error"].startswith("greedy.tif: the worker has too little memory for it")
        before = pool_pids(worker)
        assert wait_status(client, good, "FAILED", "SUCCEEDED")["status"] == "SUCCEEDED"
        assert pool_pids(worker) == before
        assert 'wsi_jobs_failed{kind="out_of_memory"} 1' in client.get("metrics").text
