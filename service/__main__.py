"""``python -m service``: the API on uvicorn, set up by ``WSI_...`` variables."""

import logging
import os
import sys

from wsi.errors import ConfigError
from wsi.extras import needs_extra

_log = logging.getLogger(__name__)


def main() -> None:
    """Serve until told to stop; exit code 2 where settings or installation cannot work."""
    try:
        with needs_extra("service", "the service"):
            import uvicorn
            from pydantic import ValidationError

            from service.app import create_app
            from service.settings import Settings
            from wsi.logs import set_up_logging
            from wsi.tracing import set_up_tracing
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    try:
        settings = Settings()
        set_up_logging("INFO", settings.log_format)
        for text in Settings.deprecations(os.environ):
            _log.warning("%s", text)
        set_up_tracing("wholeslide-api")
        app = create_app(settings)
    except (ConfigError, ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        # service.middleware logs requests, with their ids.
        access_log=False,
        # Watchers of jobs hold connections open; they must not hold up a stop.
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
