"""``python -m workers``: without a broker the embedded worker, with one a Celery worker."""

import logging
import os
import sys
from typing import TYPE_CHECKING

from wsi.errors import ConfigError
from wsi.extras import needs_extra

if TYPE_CHECKING:
    from workers.settings import Settings

_log = logging.getLogger(__name__)


def main() -> None:
    """Work until told to stop; exit code 2 where settings or installation cannot work."""
    try:
        with needs_extra("worker", "a worker"):
            from pydantic import ValidationError

            from workers.settings import Settings
            from wsi.logs import set_up_logging
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    try:
        settings = Settings()
        set_up_logging(settings.log_level, settings.log_format)
        for text in Settings.deprecations(os.environ):
            _log.warning("%s", text)
        _work(settings)
    except (ConfigError, ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def _work(settings: "Settings") -> None:
    if settings.broker_url:
        # Imported where it is wanted: the embedded worker has no use for Celery.
        from workers.celery_app import serve

        serve(settings)
    else:
        from workers.supervisor import Supervisor

        Supervisor(settings).run()


if __name__ == "__main__":
    main()
