"""Parameters of `split` in params.yaml."""

from typing import Literal, Self

from pydantic import Field, model_validator

from genreflow.frozen import FrozenModel

Method = Literal["group", "published", "kfold", "segment", "track"]
Fractions = tuple[float, float, float]


class SplitParams(FrozenModel):
    """How tracks are divided into train, validation and test parts; see `genreflow.splits.methods`."""

    method: Method = Field(default="group", description="key of genreflow.splits.methods.METHODS")
    valid: float = Field(default=0.2, ge=0.05, le=0.5, description="share of the tracks for model selection")
    test: float = Field(default=0.2, ge=0, le=0.5, description="held-out share, evaluated once; 0: no test part")
    folds: int = Field(default=5, ge=3, le=100, description="number of folds of kfold")
    fold: int = Field(default=0, ge=0, description="test fold of kfold, from 0; the next fold is the validation part")
    seed: int = Field(default=1, ge=0, le=2**63 - 1)  # 64 bits, as tools that read the reports have

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.valid + self.test > 0.8:
            raise ValueError(f"split.valid + split.test must be <= 0.8; got {self.valid + self.test:g}")
        if self.fold >= self.folds:
            raise ValueError(f"split.fold must be < split.folds ({self.folds}), counted from 0; got {self.fold}")
        return self

    @property
    def fractions(self) -> Fractions:
        """Shares of train, valid and test, which sum to 1."""
        return (1 - self.valid - self.test, self.valid, self.test)
