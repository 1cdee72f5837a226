"""``python -m workers``: without a broker the embedded worker, with one a Celery worker."""

from workers.child import set_up_logging
from workers.settings import Settings


def main() -> None:
    """Work until told to stop."""
    settings = Settings()
    set_up_logging(settings.log_level)
    if settings.broker_url:
        # Imported where it is wanted: the embedded worker has no use for Celery.
        from workers.celery_app import serve

        serve(settings)
    else:
        from workers.supervisor import Supervisor

        Supervisor(settings).run()


if __name__ == "__main__":
    main()
