"""What is fitted to reproduce a system: which tracks and segments, with which options, measured where."""

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from genreflow.audit.faults import Audit
from genreflow.errors import ParameterError
from genreflow.manifest.manifest import Manifest
from genreflow.manifest.track import Part
from genreflow.models import Architecture, TrainingProtocol
from genreflow.models.build import get_architecture
from genreflow.splits.make import make_split
from genreflow.splits.params import SplitParams
from genreflow.splits.split import Split
from genreflow.training.options import FitOptions

Kind = Literal["own", "honest"]
KINDS: tuple[Kind, ...] = ("own", "honest")


@dataclass(frozen=True, kw_only=True)
class Material:
    """The data of a project and its options, as the stages before left them.

    Parameters
    ----------
    manifest : Manifest
    audit : Audit
    split : Split
        Of the honest protocol.
    store : Path
        Folder of the feature store.
    feature_key : str
        `FeatureSpec.key` of that store.
    options : FitOptions
        What systems of our own are fitted with; its seed is everyone's.
    seed : int >= 0
        Of the authors' splits.

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
    seed: int = 1
    _splits: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.split.leaking:
            raise ParameterError(
                f"split.method is {self.split.method}, which leaks here: nothing honest can be measured with it; set "
                "split.method = group (or published or kfold, where they keep artists apart) and run `dvc repro split`."
            )

    @property
    def hashes(self) -> dict[str, str]:
        return {
            "manifest_hash": self.manifest.hash,
            "split_hash": self.split.hash,
            "feature_key": self.feature_key,
        }

    def of(self, protocol: TrainingProtocol) -> tuple[Manifest, Split]:
        """The tracks of the genres that `protocol` has, divided as it says."""
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
    kind : {"own", "honest"}
        The protocol: its authors' (segments or tracks at random), or the project's split.
    manifest : Manifest
        Of the tracks and genres that take part.
    split : Split
    options : FitOptions
        As published; `minutes` may cut them short.
    minutes : float > 0 or None
        That the fit may take.
    data : dict of str to str
        Hashes of the project's data, of which the table is.
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
    def row(self) -> Architecture:
        return get_architecture(self.system)

    @property
    def part(self) -> Part:
        """Where the figure is measured."""
        return self.split.evaluation_part

    @property
    def title(self) -> str:
        """A name for people; it says where figures flatter."""
        return self.split.prefixed(f"{self.system} {self.kind}", sep=" ")

    @property
    def in_words(self) -> str:
        """The protocol as a phrase."""
        protocol = self.row.protocol
        segments = f"{len(self.manifest.genres)} genres, segments of {protocol.seconds:g} s"
        divided = f"{protocol.by}s at random" if self.kind == "own" else f"split by {self.split.method}"
        return f"{self.kind} protocol: {segments}, {divided}{', leaking' if self.split.leaking else ''}"

    @property
    def key(self) -> str:
        """Sixteen hex digits that name everything that decides the outcome, machine and libraries apart."""
        row = self.row
        content = [
            self.system,
            self.kind,
            self.minutes,
            self.manifest.hash,
            self.split.hash,
            self.feature_key,
            self.options.model_dump(),
            asdict(replace(row.protocol, chosen="")),
            {name: dimension.default for name, dimension in row.space.items()},
            [row.image, row.coefficients, structure_hash(row.build)],
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def make_task(
    material: Material, system: str, kind: Kind, *, minutes: float | None = None, epochs: int | None = None
) -> Task:
    """The fit of a system under one of the two protocols.

    Parameters
    ----------
    material : Material
    system : str
    kind : {"own", "honest"}
    minutes : float > 0 or None
        For this fit.
    epochs : int > 0 or None
        At most; None: as published.

    Raises
    ------
    ParameterError
        The tracks cannot be divided as the protocol wants it.
    """
    row = get_architecture(system)
    manifest, split = (material.manifest, material.split) if kind == "honest" else material.of(row.protocol)
    options = fit_options(row, material.options)
    if epochs is not None and epochs < options.epochs:
        options = options.model_copy(update={"epochs": epochs})
    return Task(
        system=system,
        kind=kind,
        manifest=manifest,
        split=split,
        options=options,
        minutes=minutes,
        data=material.hashes,
        feature_key=material.feature_key,
    )


def fit_options(row: Architecture, ours: FitOptions) -> FitOptions:
    """What a system is fitted with: a published one plainly and for as long as its authors did, our own as `ours`."""
    if row.published:
        options = FitOptions.unregularised(**{"patience": 10_000, "seed": ours.seed, **row.protocol.options})
    else:
        options = FitOptions(**{**ours.model_dump(), **row.protocol.options})
    return options.resolve(row.name)


def structure_hash(build: Callable) -> str:
    """Name the code of a structure: its module without rows, imports, comments and docstrings."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(build)))
    kept = [node for node in tree.body if not _is_text(node) and "ARCHITECTURES" not in _names(node)]
    for node in kept:
        for inner in ast.walk(node):
            if isinstance(inner, ast.FunctionDef) and _is_text(inner.body[0]) and len(inner.body) > 1:
                del inner.body[0]
    text = "\n".join(ast.dump(node) for node in kept if not isinstance(node, (ast.Import, ast.ImportFrom)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _names(node: ast.stmt) -> Iterable[str]:
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
