"""GET /models."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from service.auth.access import Viewer
from service.context import Models

router = APIRouter(prefix="/models", tags=["models"])


class ModelOut(BaseModel):
    """An installed model. ``malignant``: of its classes, most severe first."""

    name: str
    pipeline: str
    architecture: str
    classes: list[str]
    malignant: list[str]
    mpp: float
    digest: str
    created_at: str
    metrics: dict[str, Any]


@router.get("")
def list_models(caller: Viewer, models: Models) -> list[ModelOut]:
    """Installed models, newest first."""
    return [
        ModelOut(
            name=card.name,
            pipeline=card.pipeline,
            architecture=card.architecture,
            classes=list(card.classes),
            malignant=list(card.malignant_classes),
            mpp=card.mpp,
            digest=card.weights_sha256,
            created_at=card.created_at,
            metrics=dict(card.metrics),
        )
        for card in models.cards()
    ]
