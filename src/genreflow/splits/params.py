"""Parameters of `split` in params.yaml."""

from typing import Self

from pydantic import Field, model_validator

from genreflow.frozen import FrozenModel


class SplitParams(FrozenModel):
    method: str = "group"
    valid: float = Field(default=0.2, ge=0.05, le=0.5, description="share of the tracks that chooses models")
    test: float = Field(default=0.2, ge=0.05, le=0.5, description="share of the tracks looked at once, at the end")
    folds: int = Field(default=5, ge=3, le=100, description="of kfold: one tests, the next one validates")
    fold: int = Field(default=0, ge=0, description="of kfold: the one that tests, from 0")
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> Self:
        if self.valid + self.test > 0.8:
            raise ValueError("split.valid + split.test must leave at least 0.2 of the tracks for training")
        if self.fold >= self.folds:
            raise ValueError(f"split.fold is {self.fold}, but split.folds {self.folds} are numbered from 0")
        return self
