"""The command line."""

from wsi.cli.main import main

__all__ = ["main"]
