"""Messages and ranges are generated from the models' JSON schema."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, field_validator, model_validator

from genreflow.constraints import messages, unit_and_range
from genreflow.frozen import FrozenModel


class Inner(FrozenModel):
    share: float = Field(default=0.5, ge=0, le=1, description="part of the whole")
    seconds: float = Field(default=1.0, gt=0, description="length [s]")
    path: Path = Path()


class Outer(FrozenModel):
    seed: int = Field(default=1, ge=0, le=2**32 - 1)
    rate: float | None = Field(default=None, gt=0, le=10, description="learning rate; null: the default")
    method: Literal["group", "kfold"] | None = None
    enabled: bool = True
    pair: tuple[Annotated[int, Field(ge=1, le=9)], Annotated[int, Field(ge=1, le=9)]] = (1, 1)
    names: tuple[str, ...] = Field(default=("a",), min_length=1)
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    choices: dict[str, list[bool | float | None]] = Field(default_factory=dict)
    even: int = 0
    jobs: int = Field(description="workers")

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"must be even; got {value}")
        return value

    @model_validator(mode="after")
    def _seed_below_jobs(self) -> "Outer":
        if self.seed > 4_000_000_000:
            raise ValueError("seed must be below 4 000 000 000.")
        return self


def faults(**content: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"jobs": 1, **content})
    return messages(caught.value, Outer, source="f.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"seed": -1}, "f.yaml: seed must be between 0 and 4294967295; got -1."),
        ({"seed": "x"}, 'f.yaml: seed must be an integer between 0 and 4294967295; got "x".'),
        ({"seed": 4_100_000_000}, "f.yaml: seed must be below 4 000 000 000."),
        ({"rate": 0}, "f.yaml: rate must be > 0 and <= 10, or null; got 0."),
        ({"rate": float("nan")}, "f.yaml: rate must be > 0 and <= 10, or null; got NaN."),
        ({"method": "best"}, 'f.yaml: method must be one of group, kfold, or null; got "best".'),
        ({"enabled": "perhaps"}, 'f.yaml: enabled must be true or false; got "perhaps".'),
        ({"pair": [1]}, "f.yaml: pair must be a list of 2, each an integer between 1 and 9; got [1]."),
        ({"pair": [1, 10]}, "f.yaml: pair.1 must be between 1 and 9; got 10."),
        ({"names": []}, "f.yaml: names must be a list of at least 1, each a string; got []."),
        ({"names": None}, "f.yaml: names must be a list of at least 1, each a string; got null."),
        ({"inner": {"share": 2}}, "f.yaml: inner.share must be between 0 and 1; got 2."),
        ({"inner": {"path": 3}}, "f.yaml: inner.path must be a path; got 3."),
        ({"inner": {"shar": 2}}, "f.yaml: inner.shar is not a parameter; inner has share, seconds, path."),
        ({"inner": None}, "f.yaml: inner must be a mapping; got null."),
        ({"many": [{}, {"seconds": 0}]}, "f.yaml: many.1.seconds must be > 0; got 0."),
        ({"choices": {"a": [1, {}]}}, "f.yaml: choices.a.1 must be true or false, a number, or null; got {}."),
        ({"even": 3}, "f.yaml: even must be even; got 3."),
    ],
)
def test_a_message_names_parameter_range_and_value(content, message):
    assert faults(**content) == [message]


def test_unknown_and_missing_parameters():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"job": 1})
    missing, unknown = messages(caught.value, Outer, source="f.yaml")
    assert missing == "f.yaml: jobs is missing; must be an integer."
    assert unknown.startswith("f.yaml: job is not a parameter; the file has seed, rate, ")


def test_each_fault_has_a_message():
    assert len(faults(seed=-1, rate=11, even=1)) == 3


def test_a_long_value_is_cut():
    (message,) = faults(seed="x" * 10_000)
    assert len(message) < 250


def test_a_value_without_end_is_cut():
    nested: list = ["x"] * 10
    for _ in range(12):  # as aliases of YAML do it: 10 ** 13 items
        nested = [nested] * 10
    circular: list = []
    circular.append(circular)
    for value in (nested, circular, {(1, 2): 3}):
        (message,) = faults(seed=value)
        assert message.startswith("f.yaml: seed must be ")
        assert len(message) < 300


def test_unit_and_range_of_fields():
    schema = Outer.model_json_schema()
    outer, inner = schema["properties"], schema["$defs"]["Inner"]["properties"]
    assert unit_and_range(inner["seconds"]) == "s, > 0"
    assert unit_and_range(inner["share"]) == "0 to 1"
    assert unit_and_range(outer["rate"]) == "> 0 and <= 10"
    assert unit_and_range(outer["pair"]) == "1 to 9"
    assert unit_and_range(outer["enabled"]) == ""
