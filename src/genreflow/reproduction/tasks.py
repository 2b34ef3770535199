"""What is fitted to reproduce a system: tracks, segments and options, and the part on which it is evaluated."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from genreflow.audit.faults import Audit
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part
from genreflow.models import Architecture, TrainingProtocol
from genreflow.models.build import get_architecture
from genreflow.reproduction.structure_hash import structure_hash
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.splits.split import Split
from genreflow.training.options import FitOptions

# The two protocols: that of the authors, and the group-disjoint split of the project.
Kind = Literal["own", "group_disjoint"]
KINDS: tuple[Kind, ...] = ("own", "group_disjoint")


@dataclass(frozen=True, kw_only=True)
class ProjectData:
    """Data and options of a project.

    Parameters
    ----------
    manifest : Manifest
    audit : Audit
    split : Split
        Group-disjoint.
    store : Path
        Directory of the feature store.
    feature_key : str
        `FeatureSpec.key` of that store.
    options : FitOptions
        For our own systems; published ones take only the seed.
    seed : int >= 0
        Of the splits under the authors' protocols.

    Raises
    ------
    ParameterError
        The split leaks.
    """

    manifest: Manifest
    audit: Audit
    split: Split
    store: Path
    feature_key: str
    options: FitOptions
    seed: int
    _splits: dict[tuple[Any, ...], tuple[Manifest, Split]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.split.leaking:
            raise ParameterError(
                "params.yaml: split.method must be group, or published or kfold where they keep groups apart, for an "
                f"evaluation without leakage; got {self.split.method}. Change it and run `dvc repro split`."
            )

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of manifest and split, and the key of the features."""
        return {
            "manifest_hash": self.manifest.hash,
            "split_hash": self.split.hash,
            "feature_key": self.feature_key,
        }

    def split_as_published(self, protocol: TrainingProtocol) -> tuple[Manifest, Split]:
        """Choose the genres of a protocol and split their tracks as it says.

        Returns
        -------
        manifest : Manifest
            Tracks of the chosen genres.
        split : Split

        Raises
        ------
        ParameterError
            There are too few tracks.
        """
        key = protocol.genres, protocol.by, protocol.train_share
        if key not in self._splits:
            genres = self.manifest.genres[: protocol.genres]
            tracks = tuple(track for track in self.manifest.tracks if track.genre in genres)
            manifest = replace(self.manifest, genres=genres, tracks=tracks)
            rest = 1 - protocol.train_share
            valid, test = {"segment": (rest, 0.0), "track": (rest / 2, rest / 2)}[protocol.by]
            params = SplitParams(method=protocol.by, valid=valid, test=test, seed=self.seed)
            self._splits[key] = manifest, make_split(manifest, self.audit, params)
        return self._splits[key]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One fit.

    Parameters
    ----------
    system : str
        Key of `genreflow.models.MODELS`.
    kind : {"own", "group_disjoint"}
        Protocol: that of its authors (segments or tracks split at random), or the group-disjoint split of the project.
    manifest : Manifest
        Of the tracks and genres of the protocol.
    split : Split
    options : FitOptions
        As published, without a time limit.
    minutes : float > 0 or None [min]
        Time limit of the fit.
    data : dict of str to str
        Hashes of the project's data.
    feature_key : str
    """

    system: str
    kind: Kind
    manifest: Manifest
    split: Split
    options: FitOptions
    minutes: float | None
    data: dict[str, str]
    feature_key: str

    @property
    def architecture(self) -> Architecture:
        """The system's row in the registry."""
        return get_architecture(self.system)

    @property
    def part(self) -> Part:
        """Part on which the system is evaluated."""
        return self.split.evaluation_part

    @property
    def run_name(self) -> str:
        """Name of the MLflow run; it starts with "leaking" if the split leaks."""
        return self.split.prefixed(f"{self.system} {self.kind}", sep=" ")

    @property
    def summary(self) -> str:
        """System, protocol, segments and split, for log messages."""
        protocol = self.architecture.protocol
        segments = f"{len(self.manifest.genres)} genres, segments of {protocol.seconds:g} s"
        split = f"{protocol.by}s split at random" if self.kind == "own" else f"split by {self.split.method}"
        return f"{self.system}, {self.kind} protocol: {segments}, {split}{', leaking' if self.split.leaking else ''}"

    @property
    def key(self) -> str:
        """Sixteen hex digits that identify all that determines the result, except for machine and libraries."""
        architecture = self.architecture
        content = [
            self.system,
            self.kind,
            self.minutes,
            self.manifest.hash,
            self.split.hash,
            self.feature_key,
            self.options.model_dump(),
            asdict(replace(architecture.protocol, chosen="")),
            {name: dimension.default for name, dimension in architecture.space.items()},
            [architecture.image, architecture.coefficients, structure_hash(architecture.build)],
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def make_task(
    data: ProjectData, system: str, kind: Kind, *, minutes: float | None = None, epochs: int | None = None
) -> Task:
    """Make the task of a system under one of the two protocols.

    Parameters
    ----------
    data : ProjectData
    system : str
        Key of `genreflow.models.MODELS`.
    kind : {"own", "group_disjoint"}
    minutes : float > 0 or None [min]
        Time limit of the fit.
    epochs : int > 0 or None
        Maximum; None: as published.

    Raises
    ------
    ParameterError
        Unknown system, or too few tracks for the split of the protocol.
    """
    architecture = get_architecture(system)
    manifest, split = (
        (data.manifest, data.split) if kind == "group_disjoint" else data.split_as_published(architecture.protocol)
    )
    options = fit_options(architecture, data.options)
    if epochs is not None and epochs < options.epochs:
        options = options.model_copy(update={"epochs": epochs})
    return Task(
        system=system,
        kind=kind,
        manifest=manifest,
        split=split,
        options=options,
        minutes=minutes,
        data=data.hashes,
        feature_key=data.feature_key,
    )


def fit_options(architecture: Architecture, project: FitOptions) -> FitOptions:
    """Options that a system is fitted with.

    A published system is fitted without regularisation but that of its protocol, and without early stopping. Our own
    are fitted with the options of the project, replaced by those of their protocol.

    Parameters
    ----------
    architecture : Architecture
    project : FitOptions

    Returns
    -------
    FitOptions
        Resolved for the architecture.
    """
    published = architecture.protocol.options
    if architecture.published:
        options = FitOptions.unregularised(**{"patience": 10_000, "seed": project.seed, **published})
    else:
        options = FitOptions(**{**project.model_dump(), **published})
    return options.resolve(architecture.name)
