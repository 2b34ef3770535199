"""Parameters of `gate` in params.yaml."""

import re
from pathlib import Path

from pydantic import Field

from genreflow.bundle import MODEL_NAME
from genreflow.frozen import FrozenModel

DEMO = "demo"
# Names of registered models: MLflow's filters and URIs do not quote others.
NAME_PATTERN, MAX_NAME = r"^\w[\w .-]*$", 100


def model_name_of_music(path: Path) -> str:
    """Return the name of the registered model that `genreflow use` chooses for a folder or file of music."""
    words = re.sub(r"[^\w.-]+", "-", path.stem if path.suffix == ".npz" else path.name).strip("-._").lower()
    return f"{MODEL_NAME}-{words[:60] or 'music'}"


class GateParams(FrozenModel):
    """When a candidate replaces the champion, and of which registered model."""

    min_probability: float = Field(
        default=0.8,
        ge=0.5,
        le=1,
        description="that the candidate is better than the champion, from which it is promoted",
    )
    min_tracks: int = Field(
        default=20, ge=1, description="of common held-out tracks without which no champion is replaced"
    )
    max_genre_loss: float = Field(
        default=0.1, ge=0, le=1, description="of accuracy in a genre, which the candidate must not be shown to exceed"
    )
    registered_model: str | None = Field(
        default=None,
        max_length=MAX_NAME,
        pattern=NAME_PATTERN,
        description="name in MLflow's registry; null: genre-classifier, of the demo genre-classifier-demo",
    )

    def model_name(self, source: str) -> str:
        """Return the name of the registered model for a source of music."""
        if self.registered_model is not None:
            return self.registered_model
        # Another default for the demo, so that its champion does not stand in the way of the first real music.
        return f"{MODEL_NAME}-{DEMO}" if source == DEMO else MODEL_NAME
