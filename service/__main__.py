"""``python -m service``: the API on uvicorn, set up by ``WSI_...`` variables."""

import logging
import sys

import uvicorn
from pydantic import ValidationError

from service.app import create_app
from service.settings import Settings
from wsi.errors import ConfigError


def main() -> None:
    """Serve until told to stop."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        settings = Settings()
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
