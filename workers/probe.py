"""``python -m workers.probe``: exit code 0 where this worker can reach its database and broker.

It looks at what a worker lives from, not at whether some process is there.
"""

import socket
import sys
from urllib.parse import urlsplit

from workers.settings import Settings
from wsi.errors import JobStoreUnavailableError
from wsi.jobs import SqlJobStore, create_engine

_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}


def main() -> int:
    """Entry point."""
    settings = Settings()
    engine = create_engine(settings.database)
    try:
        if not SqlJobStore(engine).is_ready():
            sys.stderr.write("the database has no jobs table yet\n")
            return 1
        if settings.broker_url:
            url = urlsplit(settings.broker_url)
            port = url.port or _PORTS.get(url.scheme, 0)
            socket.create_connection((url.hostname or "", port), timeout=5).close()
    except (JobStoreUnavailableError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
