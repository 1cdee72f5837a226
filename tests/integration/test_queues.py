"""CPU and GPU workers have queues of their own; a job that nobody may run says so.

The same on Redis and RabbitMQ is in ``test_compose_services``.
"""

from pathlib import Path

from tests.integration.deployment import (
    add_toy,
    deployment,
    job,
    submit,
    upload,
    wait_status,
    wait_until,
)
from tests.unit.service.conftest import write_slide


def test_a_job_for_gpu_workers_waits_for_one_and_holds_up_nobody(tmp_path: Path) -> None:
    with deployment(tmp_path / "d", traced=True, WSI_GPU_JOBS="whole-slide") as place:
        add_toy(place, "on-cpu")
        add_toy(place, "on-gpu", pipeline="whole-slide")
        _, client = place.start_api()
        slide = upload(client, write_slide(tmp_path / "s.tif"))
        on_gpu = submit(client, slide["id"], "whole-slide", priority=9)
        place.start("workers")
        on_cpu = submit(client, slide["id"])
        assert wait_status(client, on_cpu, "SUCCEEDED", "FAILED")["status"] == "SUCCEEDED"
        assert job(client, on_gpu)["status"] == "QUEUED"
        assert client.get("ready").json()["unserved_queues"] == {"gpu": 1}
        assert 'wsi_queue_unserved{queue="gpu"} 1' in client.get("metrics").text
        said = wait_until(lambda: job(client, on_gpu)["stage"], "the job to say why it waits")
        assert said == "waiting: no worker serves the queue 'gpu'"
        # No GPU here; that a worker serves the queue is a matter of its settings.
        place.start("workers", WSI_WORKER_QUEUES="gpu")
        ended = wait_status(client, on_gpu, "SUCCEEDED", "FAILED")
        assert (ended["status"], ended["queue"]) == ("SUCCEEDED", "gpu")
        seen = wait_until(
            lambda: len(found := client.get("workers").json()) == 2 and found, "both workers"
        )
        assert sorted(worker["queues"] for worker in seen) == [["cpu"], ["gpu"]]
        assert seen[0]["capabilities"]["models"] == {"on-cpu": "patch", "on-gpu": "whole-slide"}
        assert "this worker serves gpu; on cpu" in place.logs()


def test_a_worker_whose_settings_cannot_work_says_why(tmp_path: Path) -> None:
    with deployment(tmp_path / "d", traced=True) as place:
        worker = place.start("workers", WSI_WORKER_QUEUES="tpu")
        assert worker.wait(60) == 2
        assert "queues" in place.logs() or "WSI_WORKER_QUEUES" in place.logs()
