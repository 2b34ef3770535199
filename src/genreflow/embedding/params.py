"""Parameters of `embedding` in params.yaml: which pretrained network computes embeddings."""

from typing import Self

from pydantic import Field, model_validator

from genreflow.frozen import FrozenModel


class EmbeddingParams(FrozenModel):
    """The pretrained network behind the architectures `musicnn` and `embedder`."""

    weights: str = Field(
        default="MSD_musicnn",
        min_length=1,
        description="of musicnn: MSD_musicnn, MTT_musicnn, or a folder with another TensorFlow checkpoint of it",
    )
    file: str | None = Field(
        default=None,
        min_length=1,
        description="ONNX network for `embedder`, on the same patches as musicnn; null: none",
    )
    output: str | None = Field(
        default=None, min_length=1, description="output of `file` that holds the embeddings; null: its only one"
    )
    licence: str | None = Field(
        default=None, min_length=1, description="licence of `file`, which model card and service state"
    )

    @model_validator(mode="after")
    def _licence_is_known(self) -> Self:
        if self.file is not None and self.licence is None:
            raise ValueError("embedding.licence must be the licence of embedding.file; got null")
        for name in ("output", "licence"):
            if self.file is None and getattr(self, name) is not None:
                raise ValueError(f"embedding.{name} must be null without embedding.file; got {getattr(self, name)}")
        return self
