"""The contract that every JobStore keeps. Subclass it and give it the two fixtures."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsi.errors import JobNotFoundError, LeaseLostError
from wsi.jobs import LEGAL_MOVES, Job, JobRequest, JobStatus, JobStore

LEASE_S = 30.0
NOTIFY_AFTER_S = 60.0


class Clock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        """Let time go by."""
        self.now += timedelta(seconds=seconds)


def job_request(
    slide_id: str = "slide-1", pipeline: str = "patch", queue: str = "cpu"
) -> JobRequest:
    """A request that nobody will run."""
    return JobRequest(
        slide_id=slide_id,
        slide_path=f"/slides/{slide_id}.svs",
        slide_name=f"{slide_id}.svs",
        store_url=f"/stores/{slide_id}.zarr",
        pipeline=pipeline,
        model="tiny",
        mpp=0.5,
        queue=queue,
    )


class JobStoreContract:
    """Fixtures wanted: ``clock`` (a Clock) and ``store`` (empty, with ``notify_after_s`` of 60)."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def store(self, clock: Clock) -> JobStore:
        raise NotImplementedError

    def claimed(self, store: JobStore, worker: str = "w1") -> Job:
        job = store.claim(worker, lease_s=LEASE_S)
        assert job is not None
        return job

    def test_a_new_job_is_read_back_as_it_was_added(self, store: JobStore) -> None:
        added = store.add(job_request(), priority=3)
        assert store.get(added.id) == added
        assert (added.status, added.priority, added.attempt) == (JobStatus.QUEUED, 3, 0)
        assert added.request == job_request()

    def test_an_unknown_job_is_an_error_that_names_it(self, store: JobStore) -> None:
        for call in (store.get, store.request_cancel):
            with pytest.raises(JobNotFoundError, match="nothing"):
                call("nothing")

    def test_a_claim_starts_the_job_and_sets_its_lease(self, store: JobStore, clock: Clock) -> None:
        added = store.add(job_request())
        clock.pass_s(5)
        job = self.claimed(store)
        assert (job.id, job.status, job.attempt, job.worker) == (
            added.id,
            JobStatus.RUNNING,
            1,
            "w1",
        )
        assert job.lease_until == clock.now + timedelta(seconds=LEASE_S)
        assert job.started_at == clock.now
        assert store.get(job.id) == job

    def test_an_empty_queue_gives_nothing(self, store: JobStore) -> None:
        assert store.claim("w1", lease_s=LEASE_S) is None

    def test_a_running_job_is_not_claimed_again(self, store: JobStore) -> None:
        job = store.add(job_request())
        self.claimed(store)
        assert store.claim("w2", lease_s=LEASE_S) is None
        assert store.claim("w2", lease_s=LEASE_S, job_id=job.id) is None

    def test_the_most_urgent_goes_first_and_then_the_oldest(
        self, store: JobStore, clock: Clock
    ) -> None:
        added = []
        for priority in (0, 5, 0, 5):
            added.append(store.add(job_request(), priority=priority).id)
            clock.pass_s(1)
        order = [self.claimed(store).id for _ in added]
        assert order == [added[1], added[3], added[0], added[2]]

    def test_a_named_job_is_claimed_before_more_urgent_ones(self, store: JobStore) -> None:
        wanted = store.add(job_request())
        store.add(job_request(), priority=9)
        job = store.claim("w1", lease_s=LEASE_S, job_id=wanted.id)
        assert job is not None
        assert job.id == wanted.id

    def test_a_worker_is_given_jobs_of_its_queues_alone(self, store: JobStore) -> None:
        urgent = store.add(job_request(queue="gpu"), priority=9)
        waiting = store.add(job_request())
        first = store.claim("c", lease_s=LEASE_S, queues=["cpu"])
        assert first is not None
        assert (first.id, first.request.queue) == (waiting.id, "cpu")
        assert store.claim("c", lease_s=LEASE_S, queues=["cpu"]) is None
        second = store.claim("g", lease_s=LEASE_S, queues=["gpu", "cpu"])
        assert second is not None
        assert second.id == urgent.id

    def test_a_heartbeat_renews_the_lease_and_shows_progress(
        self, store: JobStore, clock: Clock
    ) -> None:
        store.add(job_request())
        job = self.claimed(store)
        clock.pass_s(20)
        job = store.heartbeat(job.id, 1, lease_s=LEASE_S, progress=0.25, stage="patches")
        assert (job.progress, job.stage) == (0.25, "patches")
        assert job.lease_until == clock.now + timedelta(seconds=LEASE_S)
        clock.pass_s(20)
        assert store.reconcile(max_attempts=3) == []
        assert store.get(job.id).status is JobStatus.RUNNING

    def test_a_job_succeeds_once_and_names_the_winners_result(
        self, store: JobStore, clock: Clock
    ) -> None:
        store.add(job_request())
        job = self.claimed(store)
        ended = store.succeed(job.id, job.attempt, result_id="r-1")
        assert (ended.status, ended.result_id, ended.progress) == (JobStatus.SUCCEEDED, "r-1", 1.0)
        assert (ended.finished_at, ended.lease_until) == (clock.now, None)
        with pytest.raises(LeaseLostError, match="SUCCEEDED"):
            store.succeed(job.id, job.attempt, result_id="r-2")
        assert store.get(job.id).result_id == "r-1"

    def test_a_failed_job_says_why(self, store: JobStore) -> None:
        store.add(job_request())
        job = self.claimed(store)
        ended = store.fail(job.id, job.attempt, kind="damaged", reason="a.svs: cut off")
        assert (ended.status, ended.error_kind, ended.error) == (
            JobStatus.FAILED,
            "damaged",
            "a.svs: cut off",
        )

    def test_a_released_job_is_claimed_again_without_counting_as_lost(
        self, store: JobStore
    ) -> None:
        store.add(job_request())
        job = self.claimed(store)
        back = store.release(job.id, job.attempt)
        assert (back.status, back.worker, back.lease_until) == (JobStatus.QUEUED, None, None)
        again = self.claimed(store, "w2")
        assert (again.attempt, again.losses, again.worker) == (2, 0, "w2")

    def test_an_old_attempt_can_do_nothing_any_more(self, store: JobStore) -> None:
        store.add(job_request())
        old = self.claimed(store)
        store.release(old.id, old.attempt)
        new = self.claimed(store, "w2")
        calls: tuple[Callable[[], Job], ...] = (
            lambda: store.heartbeat(old.id, 1, lease_s=LEASE_S, progress=0.9, stage="late"),
            lambda: store.succeed(old.id, 1, result_id="late"),
            lambda: store.fail(old.id, 1, kind="late", reason="late"),
            lambda: store.release(old.id, 1),
            lambda: store.confirm_cancelled(old.id, 1),
        )
        for call in calls:
            with pytest.raises(LeaseLostError, match="attempt 1"):
                call()
        assert store.get(new.id) == new

    def test_cancelling_a_waiting_job_ends_it_at_once(self, store: JobStore) -> None:
        job = store.request_cancel(store.add(job_request()).id)
        assert job.status is JobStatus.CANCELLED
        assert job.finished_at is not None
        assert store.claim("w1", lease_s=LEASE_S) is None
        assert store.outbox() == []

    def test_cancelling_a_running_job_asks_its_worker(self, store: JobStore) -> None:
        store.add(job_request())
        job = self.claimed(store)
        asked = store.request_cancel(job.id)
        assert (asked.status, asked.cancel_requested) == (JobStatus.RUNNING, True)
        answer = store.heartbeat(job.id, 1, lease_s=LEASE_S, progress=0.5, stage="x")
        assert answer.cancel_requested
        assert store.confirm_cancelled(job.id, 1).status is JobStatus.CANCELLED

    def test_cancelling_an_ended_job_changes_nothing(self, store: JobStore) -> None:
        store.add(job_request())
        job = self.claimed(store)
        ended = store.succeed(job.id, 1, result_id="r")
        assert store.request_cancel(job.id) == ended

    def test_a_lost_lease_puts_the_job_back_and_notifies_again(
        self, store: JobStore, clock: Clock
    ) -> None:
        store.add(job_request())
        job = self.claimed(store)
        assert store.outbox() == []
        clock.pass_s(LEASE_S)
        assert [one.id for one in store.reconcile(max_attempts=3)] == [job.id]
        now = store.get(job.id)
        assert (now.status, now.losses) == (JobStatus.QUEUED, 1)
        assert [one.job_id for one in store.outbox()] == [job.id]

    def test_a_job_lost_too_often_fails_with_a_reason(self, store: JobStore, clock: Clock) -> None:
        job = store.add(job_request())
        for _ in range(3):
            self.claimed(store)
            clock.pass_s(LEASE_S + 1)
            store.reconcile(max_attempts=3)
        ended = store.get(job.id)
        assert (ended.status, ended.error_kind, ended.losses) == (
            JobStatus.FAILED,
            "worker_lost",
            3,
        )
        assert ended.error is not None
        assert "slide-1.svs" in ended.error
        assert store.claim("w1", lease_s=LEASE_S) is None

    def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(
        self, store: JobStore, clock: Clock
    ) -> None:
        store.add(job_request())
        job = self.claimed(store)
        store.request_cancel(job.id)
        clock.pass_s(LEASE_S + 1)
        assert store.reconcile(max_attempts=3) == []
        assert store.get(job.id).status is JobStatus.CANCELLED

    def test_the_jobs_of_a_dead_worker_come_back_before_their_lease_ends(
        self, store: JobStore
    ) -> None:
        for _ in range(2):
            store.add(job_request())
        mine, other = self.claimed(store, "dead"), self.claimed(store, "alive")
        assert store.expire_leases_of("dead") == 1
        assert [job.id for job in store.reconcile(max_attempts=3)] == [mine.id]
        assert store.get(other.id).status is JobStatus.RUNNING

    def test_a_message_that_led_to_another_job_leaves_that_ones_notification(
        self, store: JobStore
    ) -> None:
        store.add(job_request())
        urgent = store.add(job_request(), priority=9)
        store.mark_sent(store.outbox(limit=1))
        job = store.claim("w1", lease_s=LEASE_S, keep_notification=True)
        assert job is not None
        assert job.id == urgent.id
        assert len(store.outbox()) == 1, "nobody would be told of the job that waits"

    def test_a_notification_is_in_the_outbox_until_it_was_sent(self, store: JobStore) -> None:
        job = store.add(job_request(queue="gpu"))
        (notification,) = store.outbox()
        assert (notification.job_id, notification.queue) == (job.id, "gpu")
        store.mark_sent([notification])
        store.mark_sent([notification])
        assert store.outbox() == []

    def test_a_claimed_job_needs_no_notification(self, store: JobStore) -> None:
        store.add(job_request())
        self.claimed(store)
        assert store.outbox() == []

    def test_workers_are_notified_ever_more_rarely_of_a_job_never_picked_up(
        self, store: JobStore, clock: Clock
    ) -> None:
        job = store.add(job_request())
        notified_at = []
        for minute in range(16):
            if store.reconcile(max_attempts=3):
                notified_at.append(minute)
                assert len(store.outbox()) == 1
            store.mark_sent(store.outbox())
            clock.pass_s(NOTIFY_AFTER_S)
        assert notified_at == [1, 3, 7, 15]
        assert store.get(job.id).status is JobStatus.QUEUED

    def test_finding_is_newest_first_filtered_and_paged(
        self, store: JobStore, clock: Clock
    ) -> None:
        ids = []
        for slide in ("a", "b", "a", "a"):
            ids.append(store.add(job_request(slide)).id)
            clock.pass_s(1)
        self.claimed(store)
        found = [job.id for job in store.find(slide_id="a")]
        assert found == [ids[3], ids[2], ids[0]]
        assert [job.id for job in store.find(slide_id="a", limit=1, offset=1)] == [ids[2]]
        assert [job.id for job in store.find(status=JobStatus.RUNNING)] == [ids[0]]
        assert store.count() == 4
        assert store.count(slide_id="a", status=JobStatus.QUEUED) == 2

    def test_newest_is_one_job_a_pipeline_and_slide(self, store: JobStore, clock: Clock) -> None:
        wanted = set()
        for slide, pipeline, newest in (
            ("a", "patch", False),
            ("a", "patch", True),
            ("a", "whole-slide", True),
            ("b", "patch", True),
            ("c", "patch", False),
        ):
            job = store.add(job_request(slide, pipeline))
            wanted |= {job.id} if newest else set()
            clock.pass_s(1)
        assert {job.id for job in store.newest(["a", "b"])} == wanted
        assert store.newest([]) == []

    def test_of_many_claimers_each_job_goes_to_one(self, store: JobStore) -> None:
        ids = {store.add(job_request()).id for _ in range(40)}

        def drain(worker: str) -> list[str]:
            mine = []
            while (job := store.claim(worker, lease_s=LEASE_S)) is not None:
                mine.append(job.id)
            return mine

        with ThreadPoolExecutor(8) as pool:
            claims = [job for mine in pool.map(drain, "abcdefgh") for job in mine]
        # On PostgreSQL a claimer that saw only locked rows stops early; nothing may be left.
        claims += drain("last")
        assert Counter(claims) == Counter(ids)

    def test_of_many_that_end_a_job_one_wins(self, store: JobStore) -> None:
        store.add(job_request())
        job = self.claimed(store)

        def end(number: int) -> str | None:
            try:
                return store.succeed(job.id, 1, result_id=f"r{number}").result_id
            except LeaseLostError:
                return None

        with ThreadPoolExecutor(8) as pool:
            won = [result for result in pool.map(end, range(8)) if result]
        assert len(won) == 1
        assert store.get(job.id).result_id == won[0]

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(data=st.data())
    def test_no_sequence_of_calls_makes_an_illegal_move(
        self, store: JobStore, clock: Clock, data: st.DataObject
    ) -> None:
        job = store.add(job_request())
        for _ in range(data.draw(st.integers(1, 8))):
            before = store.get(job.id)
            attempt = data.draw(st.integers(0, before.attempt + 1))
            _call(store, clock, job.id, attempt, data.draw(st.sampled_from(_CALLS)))
            after = store.get(job.id)
            assert after.status is before.status or after.status in LEGAL_MOVES[before.status]
            assert after.attempt - before.attempt == (
                1 if (before.status, after.status) == (JobStatus.QUEUED, JobStatus.RUNNING) else 0
            )
            if before.status.is_final:
                assert after == before


_CALLS = (
    "claim",
    "heartbeat",
    "succeed",
    "fail",
    "release",
    "cancelled",
    "cancel",
    "reconcile",
    "wait",
)


def _call(store: JobStore, clock: Clock, job_id: str, attempt: int, name: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "claim": lambda: store.claim("w", lease_s=LEASE_S, job_id=job_id),
        "heartbeat": lambda: store.heartbeat(
            job_id, attempt, lease_s=LEASE_S, progress=0.1, stage="s"
        ),
        "succeed": lambda: store.succeed(job_id, attempt, result_id="r"),
        "fail": lambda: store.fail(job_id, attempt, kind="k", reason="r"),
        "release": lambda: store.release(job_id, attempt),
        "cancelled": lambda: store.confirm_cancelled(job_id, attempt),
        "cancel": lambda: store.request_cancel(job_id),
        "reconcile": lambda: store.reconcile(max_attempts=2),
        "wait": lambda: clock.pass_s(LEASE_S),
    }
    try:
        calls[name]()
    except LeaseLostError:
        before = store.get(job_id)
        # Refused rightly: the attempt was not the one that runs.
        assert before.status is not JobStatus.RUNNING or before.attempt != attempt
