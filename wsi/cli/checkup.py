"""What ``wsi doctor`` finds out; each part is plain data, for the table and for ``--json``."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from wsi.errors import MemoryPlanError, MissingExtraError, WsiError
from wsi.extras import needs_extra
from wsi.system import cgroup_memory, free_memory, usable_cores

if TYPE_CHECKING:
    from wsi.networks import StagedNetwork
    from wsi.planning import MemoryPlan, Speed

SLIDE_PX = 10_000
PATCH_PX = 224
_DISK_BYTES = 64 * 2**20
_CONNECT_S = 3
_CALIBRATION_PX = 512
_BATCH = 16
_NOT_SHOWN = ("dev", "node", "all", "train")
_LIBRARIES = ("torch", "torchvision", "openslide-python", "openslide-bin", "tifffile", "zarr")


def machine() -> dict[str, Any]:
    """Cores, memory, disk and GPU of this machine, as this process may use them."""
    return {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": usable_cores(),
        "cores_of_the_machine": os.cpu_count(),
        "memory_free_bytes": free_memory(),
        "memory_limit_bytes": cgroup_memory(),
        "scratch_free_bytes": shutil.disk_usage(tempfile.gettempdir()).free,
        "gpus": _gpus(),
    }


def _gpus() -> list[dict[str, Any]]:
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        found.append({"name": about.name, "memory_bytes": about.total_memory})
    return found


def disk_speed(folder: Path) -> dict[str, float]:
    """Bytes a second, written and synced, then read back, of a file in ``folder``."""
    data = os.urandom(_DISK_BYTES)
    with tempfile.TemporaryFile(dir=folder) as file:
        started = time.perf_counter()
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        written = time.perf_counter() - started
        # Out of the page cache, as far as the system obeys: the disk is asked, not the memory.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        started = time.perf_counter()
        file.read()
        read = time.perf_counter() - started
    return {"write_bytes_per_s": _DISK_BYTES / written, "read_bytes_per_s": _DISK_BYTES / read}


def software() -> dict[str, Any]:
    """Versions, and which optional extras are complete."""
    return {
        "wholeslide": metadata.version("wholeslide"),
        **{name: _version(name) for name in _LIBRARIES},
        "extras": _extras(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> dict[str, bool]:
    """Extra to whether all that it asks for is installed."""
    wanted: dict[str, bool] = {}
    for line in metadata.requires("wholeslide") or []:
        asked = Requirement(line)
        for extra in metadata.metadata("wholeslide").get_all("Provides-Extra") or []:
            alone = asked.marker is not None and not asked.marker.evaluate({"extra": ""})
            if alone and asked.marker and asked.marker.evaluate({"extra": extra}):
                wanted[extra] = wanted.get(extra, True) and _version(asked.name) is not None
    return {name: there for name, there in sorted(wanted.items()) if name not in _NOT_SHOWN}


def engines() -> dict[str, str | None]:
    """Engine to why it will not work here, ``None`` where it will."""
    compiler = os.environ.get("CXX") or "g++"
    return {
        "torch": None,
        "compile": None if shutil.which(compiler) else f"no C++ compiler ({compiler}) found",
        "openvino": None if find_spec("openvino") else "needs the extra openvino",
        "openvino-int8": None if find_spec("nncf") else "needs the extra openvino",
    }


def services() -> dict[str, dict[str, Any]]:
    """What the settings name, and whether it answers; ``problem`` is ``None`` where it does."""
    found: dict[str, dict[str, Any]] = {}
    database, broker = os.environ.get("WSI_DATABASE_URL"), os.environ.get("WSI_BROKER_URL")
    found["database"] = (
        _answer(_database, "WSI_DATABASE_URL", database)
        if database
        else _nothing("SQLite below the data folder")
    )
    found["broker"] = (
        _answer(_broker, "WSI_BROKER_URL", broker)
        if broker
        else _nothing("none: workers poll the database")
    )
    folder = Path(os.environ.get("WSI_DATA_DIR", "data"))
    found["data folder"] = {"where": str(folder), "problem": _unwritable(folder)}
    return found


def _nothing(where: str) -> dict[str, Any]:
    return {"where": where, "problem": None, "default": True}


def _answer(ask: Callable[[str], dict[str, Any]], name: str, url: str) -> dict[str, Any]:
    try:
        return ask(url)
    except MissingExtraError as error:
        return {"where": name, "problem": str(error)}


def _unwritable(folder: Path) -> str | None:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return None if os.access(there, os.W_OK) else f"{there} cannot be written"


def _database(url: str) -> dict[str, Any]:
    with needs_extra("worker", "WSI_DATABASE_URL"):
        import sqlalchemy

    try:
        parsed = sqlalchemy.make_url(url)
        where = parsed.render_as_string(hide_password=True)
        waits = {"connect_timeout": _CONNECT_S} if parsed.drivername.startswith("post") else {}
        engine = sqlalchemy.create_engine(parsed, connect_args=waits)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select 1"))
        engine.dispose()
    except sqlalchemy.exc.ArgumentError:
        # The text may hold a password.
        return {"where": "WSI_DATABASE_URL", "problem": "is not a database URL"}
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        return {"where": where, "problem": f"does not answer: {_first_line(error)}"}
    return {"where": where, "problem": None}


def _broker(url: str) -> dict[str, Any]:
    with needs_extra("worker", "WSI_BROKER_URL"):
        from kombu.connection import Connection

    where = "WSI_BROKER_URL"
    try:
        with Connection(url, connect_timeout=_CONNECT_S) as connection:  # type: ignore[no-untyped-call]
            where = connection.as_uri(include_password=False)
            connection.ensure_connection(max_retries=1, timeout=_CONNECT_S)
    except Exception as error:  # noqa: BLE001
        # Each transport has exceptions of its own; whatever they say is what the reader wants.
        return {"where": where, "problem": f"does not answer: {_first_line(error)}"}
    return {"where": where, "problem": None}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def memory_modes(network: "StagedNetwork", device: str) -> dict[str, dict[str, Any]]:
    """For each memory mode, what training and scoring at 10,000 px need, or why they will not go.

    Args:
        network: whose needs are planned.
        device: ``cpu`` or ``cuda``.
    """
    import torch

    from wsi.streaming import MODES
    from wsi.streaming.storage.managed import why_unavailable

    where = torch.device(device)
    found: dict[str, dict[str, Any]] = {}
    for mode in MODES:
        refused = why_unavailable(where) if mode == "unified" else None
        for training in (True, False):
            said: dict[str, Any] = {"problem": refused}
            found.setdefault(mode, {})["training" if training else "scoring"] = said
            if mode == "offload" and not training:
                said["problem"] = "only for training"
                continue
            try:
                planned = _plan(network, where, mode=mode, training=training)
                said["bytes"] = planned.device_bytes
            except MemoryPlanError as error:
                said["problem"] = refused or _why(error)
    return found


def _plan(network: "StagedNetwork", where: Any, **asked: Any) -> "MemoryPlan":
    """Of the slide that all figures are of, with what this machine has."""
    from wsi.models.runtime import fast_dtype
    from wsi.planning import plan
    from wsi.planning.budgets import memory_budgets, scratch_budget

    return plan(
        network,
        (SLIDE_PX, SLIDE_PX),
        *memory_budgets(where),
        disk_budget=scratch_budget(),
        dtype=fast_dtype(where),
        **asked,
    )


def _why(error: WsiError) -> str:
    """A plan's refusal says for the mode what is missing, on a line of its own."""
    lines = str(error).splitlines()
    return lines[1].partition(": ")[2] if len(lines) > 1 else lines[0]


def measured_speed(network: "StagedNetwork", device: str) -> "Speed":
    """Floating-point operations a second, measured for a few seconds."""
    import torch

    from wsi.models.runtime import fast_dtype
    from wsi.planning import calibrate
    from wsi.streaming import RunOptions

    dtype = fast_dtype(torch.device(device))
    autocast = None if dtype == torch.float32 else dtype
    side = _CALIBRATION_PX if device == "cpu" else None
    return calibrate(network, RunOptions(device=device, autocast=autocast), side)


def predictions(network: "StagedNetwork", device: str, speed: "Speed") -> dict[str, Any]:
    """Seconds that a slide of 10,000 px a side, all of it tissue, will take by both pipelines."""
    import torch

    where = torch.device(device)
    rate = _patch_rate(network, where)
    patches = (-(-SLIDE_PX // PATCH_PX)) ** 2
    said: dict[str, Any] = {
        "slide_px": SLIDE_PX,
        "device": device,
        "flop_per_s": speed.flop_per_s,
        "patches": patches,
        "patches_per_s": rate,
        "patch_s": patches / rate,
    }
    for name, training in (("whole_slide", False), ("whole_slide_training_update", True)):
        try:
            planned = _plan(network, where, speed=speed, training=training)
        except MemoryPlanError as error:
            said[f"{name}_problem"] = str(error).splitlines()[0]
        else:
            said[f"{name}_s"] = planned.seconds
            said[f"{name}_mode"] = planned.mode
    return said


def _patch_rate(network: "StagedNetwork", device: Any) -> float:
    """Patches a second of the forward pass."""
    import torch

    from wsi.models.runtime import autocast, fast_dtype

    network = network.eval()
    images = torch.randn(_BATCH, 3, PATCH_PX, PATCH_PX, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    best = float("inf")
    with torch.inference_mode(), autocast(device, fast_dtype(device)):
        for _ in range(3):
            started = time.perf_counter()
            network(images).sum().item()
            best = min(best, time.perf_counter() - started)
    return _BATCH / best
