"""``python -m workers``: without a broker the embedded worker, with one a Celery worker."""

import logging
import os
import sys

from pydantic import ValidationError

from workers.settings import Settings
from wsi.errors import ConfigError
from wsi.logs import set_up_logging

_log = logging.getLogger(__name__)


def main() -> None:
    """Work until told to stop; exit code 2 where the settings cannot work."""
    try:
        settings = Settings()
        set_up_logging(settings.log_level, settings.log_format)
        for text in Settings.deprecations(os.environ):
            _log.warning("%s", text)
        _work(settings)
    except (ConfigError, ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def _work(settings: Settings) -> None:
    if settings.broker_url:
        # Imported where it is wanted: the embedded worker has no use for Celery.
        from workers.celery_app import serve

        serve(settings)
    else:
        from workers.supervisor import Supervisor

        Supervisor(settings).run()


if __name__ == "__main__":
    main()
