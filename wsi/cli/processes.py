"""``wsi serve`` and ``wsi worker``: start the processes of the service."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

import click

_POLL_S = 0.2
_GRACE_S = 30.0
_PR_SET_PDEATHSIG = 1


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 8000]")
@click.option("--no-worker", is_flag=True, help="API alone; start workers with: wsi worker")
def serve(host: str | None, port: int | None, no_worker: bool) -> None:
    """Run the API with its page, and a worker. Ctrl-C stops both.

    Settings come from WSI_... variables of the environment; see docs/settings.md.
    """
    env = dict(os.environ)
    if host:
        env["WSI_HOST"] = host
    if port:
        env["WSI_PORT"] = str(port)
    modules = ["service"] if no_worker else ["service", "workers"]
    sys.exit(run_together([[sys.executable, "-m", module] for module in modules], env))


@click.command()
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Run a worker: embedded over the database, or Celery where WSI_BROKER_URL is set."""
    os.execv(sys.executable, [sys.executable, "-m", "workers", *arguments])


def run_together(commands: Sequence[Sequence[str]], env: dict[str, str]) -> int:
    """Run processes until one ends or a signal comes; then end them all.

    Returns:
        The exit code of the first that ended by itself, 0 after a signal.
    """
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # Sessions of their own: a Ctrl-C on the terminal reaches this process alone, which then
    # stops the children in order.
    children = [
        subprocess.Popen(command, env=env, start_new_session=True, preexec_fn=end_with_parent)
        for command in commands
    ]
    try:
        while not stopped:
            ended = next((c.returncode for c in children if c.poll() is not None), None)
            if ended is not None:
                return ended
            time.sleep(_POLL_S)
        return 0
    finally:
        end_all(children)


def end_with_parent() -> None:
    """In a new child: SIGTERM for it when its parent is killed. Linux alone knows how."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_all(children: Sequence["subprocess.Popen[bytes]"]) -> None:
    """SIGTERM, then SIGKILL to what does not end in time."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
