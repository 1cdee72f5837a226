"""Log lines: ids in each, secrets in none."""

import json
import logging
import threading

import pytest

from wsi.logs import JsonLines, TextLines, about_job, about_request, without_secrets


def line(formatter: logging.Formatter, message: str = "done", **extra: object) -> str:
    record = logging.LogRecord("a.logger", logging.INFO, "f.py", 1, message, (), None)
    vars(record).update(extra)
    return formatter.format(record)


def test_every_json_line_has_both_ids_null_where_there_is_none() -> None:
    plain = json.loads(line(JsonLines()))
    assert (plain["request_id"], plain["job_id"], plain["trace_id"]) == (None, None, None)
    assert (plain["level"], plain["logger"], plain["message"]) == ("INFO", "a.logger", "done")
    with about_request("r1"), about_job("j1"):
        inside = json.loads(line(JsonLines()))
        own = json.loads(line(JsonLines(), job_id="j2", request_id="r2"))
    assert (inside["request_id"], inside["job_id"]) == ("r1", "j1")
    assert (own["request_id"], own["job_id"]) == ("r2", "j2")
    assert json.loads(line(JsonLines()))["job_id"] is None


def test_text_lines_say_them_too() -> None:
    with about_request("r1"), about_job("j1"):
        assert line(TextLines()).endswith("a.logger [request r1] [job j1]: done")
    assert line(TextLines()).endswith("a.logger: done")


def test_every_thread_of_a_worker_logs_its_job_and_no_thread_anothers_request() -> None:
    found: list[str] = []
    with about_request("r1"), about_job("j1"):
        thread = threading.Thread(target=lambda: found.append(line(JsonLines())))
        thread.start()
        thread.join()
    (inside,) = map(json.loads, found)
    assert (inside["request_id"], inside["job_id"]) == (None, "j1")


def test_an_exception_is_one_line_of_json() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError as error:
        text = line(JsonLines(), exc_info=(type(error), error, error.__traceback__))
    assert "\n" not in text
    assert "broken\nin two" in json.loads(text)["exception"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key wsk_AbCdEf-123_456789 came", "key [secret] came"),
        ("Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1LTE3In0.c2lnbmF0dXJl!", "Bearer [secret]!"),
        ("amqp://wsi:pa55@mq:5672// is away", "amqp://[secret]@mq:5672// is away"),
        ("redis://:pa55@r/0", "redis://[secret]@r/0"),
        ("at http://127.0.0.1:8000/api/v1/slides", "at http://127.0.0.1:8000/api/v1/slides"),
        ("wsk_... is how a key begins", "wsk_... is how a key begins"),
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert json.loads(line(JsonLines(), text))["message"] == shown
    assert line(TextLines(), text).endswith(f": {shown}")
