"""Settings of the service, each read from an environment variable."""

import os
import re
from functools import cache
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from genreflow.constraints import expected
from genreflow.cores import usable_cores
from genreflow.errors import ParameterError
from genreflow.frozen import FrozenModel

PREFIX = "GENREFLOW_"
# Cores that one request can use well: a pretrained network takes half the time with two; more hardly help.
MAX_THREADS = 4
HOST_NAME = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*")


class Settings(FrozenModel):
    """Limits of the service and the bundle that it serves.

    A field is set by the environment variable of its name, such as ``GENREFLOW_MAX_FILES``.
    """

    bundle: str = Field("models/champion", description="directory of the bundle")
    reload_seconds: float = Field(
        5.0, ge=0, le=1e6, description="how often to look for another bundle in its directory; 0: never [s]"
    )
    token: str = Field("", repr=False, description="bearer token that classification requires; empty: none")
    processes: int = Field(2, ge=1, le=1000, description="worker processes, each with one thread that classifies")
    max_megabytes: float = Field(300.0, gt=0, le=1e6, description="largest request body [MB]")
    max_minutes: float = Field(150.0, gt=0, le=1e6, description="longest audio [min]")
    max_work_seconds: float = Field(
        15.0, gt=0, le=1e6, description="processor time after which no further file of a batch is classified [s]"
    )
    max_files: int = Field(64, ge=1, description="files in one batch")
    max_requests: int = Field(32, ge=1, description="concurrent requests, divided among the worker processes")
    max_uploads: int = Field(256, ge=1, description="bodies that arrive at the same time, divided likewise")
    stall_seconds: float = Field(15.0, gt=0, le=1e6, description="longest pause of a client that sends or reads [s]")
    prediction_log: str = Field("", description="directory of the log of predictions; empty: none")
    prediction_log_days: int = Field(30, ge=1, le=3650, description="after which a prediction is removed from the log")
    prediction_log_megabytes: float = Field(
        1000.0, ge=50, le=1e6, description="above which the oldest predictions are removed [MB]"
    )
    allowed_hosts: str = Field(
        "", description="host names of the service, separated by commas; *.example.com: all below it; *: any"
    )

    log_format: Literal["text", "json"] = Field("text", description="log as text, or as one JSON object a line")
    feedback_dir: str = Field("", description="directory of records of predictions, for feedback; empty: no feedback")
    feedback_audio: bool = Field(False, description="whether to keep the audio of predictions, for feedback")
    feedback_days: int = Field(30, ge=1, le=3650, description="how long records and audio are kept at most [d]")
    feedback_megabytes: float = Field(1000.0, gt=0, le=1e9, description="size of all records and audio [MB]")

    @field_validator("token")
    @classmethod
    def _is_a_header_value(cls, token: str) -> str:
        if not token.isascii() or any(not letter.isprintable() or letter.isspace() for letter in token):
            raise ValueError("must be printable ASCII characters without spaces")
        return token

    @field_validator("allowed_hosts")
    @classmethod
    def _are_host_names(cls, names: str) -> str:
        if not all(HOST_NAME.fullmatch(name.strip()) for name in names.split(",") if name.strip()):
            raise ValueError("must be host names without a scheme or port, separated by commas")
        return names

    @property
    def threads(self) -> int:
        """Cores that the model of one request uses: those that the worker processes leave, at most `MAX_THREADS`."""
        return min(MAX_THREADS, max(1, usable_cores() // self.processes))

    @property
    def max_bytes(self) -> int:
        return int(self.max_megabytes * 1e6)

    @property
    def max_seconds(self) -> float:
        return self.max_minutes * 60

    @property
    def max_requests_per_process(self) -> int:
        """`max_requests` divided by `processes` and rounded up, as BentoML divides its own ``max_concurrency``."""
        return -(-self.max_requests // self.processes)

    @property
    def max_uploads_per_process(self) -> int:
        """`max_uploads` divided by `processes` and rounded up."""
        return -(-self.max_uploads // self.processes)

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names in `allowed_hosts`, in lower case."""
        return tuple(name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip())

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the settings from the environment; a variable that is unset or empty leaves the default.

        Raises
        ------
        ParameterError
            A variable is out of range or not a number.
        """
        variables = {name: os.environ.get(PREFIX + name.upper(), "") for name in cls.model_fields}
        try:
            return cls.model_validate({name: value for name, value in variables.items() if value})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            if first["type"] == "value_error":  # of a validator above
                wanted = str(first["ctx"]["error"])
            else:
                wanted = f"must be {expected(cls.model_json_schema()['properties'][name], {})}"
            got = "" if name == "token" else f"; got {variables[name]!r}"  # a token must not be in a log
            raise ParameterError(f"{PREFIX}{name.upper()} {wanted}{got}.") from None


@cache
def settings() -> Settings:
    """Return the settings of this process, read from the environment once."""
    return Settings.from_environment()
