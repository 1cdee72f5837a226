"""The documents say what the code has."""

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from service.settings import Settings as ServiceSettings
from workers.settings import Settings as WorkerSettings

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("settings", [ServiceSettings, WorkerSettings])
def test_every_setting_is_documented(settings: type[BaseSettings]) -> None:
    text = (DOCS / "settings.md").read_text()
    for name, field in settings.model_fields.items():
        variable = field.validation_alias or f"WSI_{name.upper()}"
        assert f"| `{variable}` |" in text, f"docs/settings.md lacks {variable}"
