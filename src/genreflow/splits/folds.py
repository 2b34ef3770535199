"""Pooled evaluation of the experiments of a k-fold split, in which every track is tested once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from genreflow.constraints import describe_damage
from genreflow.errors import ParameterError
from genreflow.evaluation.intervals import bootstrap_interval, wilson
from genreflow.evaluation.metrics import confusion_matrix, per_class
from genreflow.files import parse_json


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """The result of one experiment of a k-fold split.

    Parameters
    ----------
    experiment : str
        Its name.
    split : mapping
        Content of ``split.json``, as `genreflow.splits.split.Split.save` writes it.
    predictions : list of dict
        By test track: ``track`` (ID), ``actual`` and ``predicted``.
    """

    experiment: str
    split: Mapping[str, Any]
    predictions: list[dict]


def read_folds(root: Path | str, names: Sequence[str], *, split: Path, predictions: Path) -> list[FoldResult]:
    """Read the k-fold experiments of a project.

    Parameters
    ----------
    root : Path
        Project folder.
    names : sequence of str
        Experiments, branches or commits; if empty, all k-fold experiments of the current commit.
    split, predictions : Path
        Paths in the project of the files that `FoldResult` describes.

    Raises
    ------
    ParameterError
        There is no such experiment, or its results are not in DVC's cache.
    """
    import dvc.api
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    def read(path: Path, name: str, kind: Any) -> Any:
        try:
            content = parse_json(dvc.api.read(path.as_posix(), repo=str(root), rev=name, encoding="utf-8"))
            TypeAdapter(kind).validate_python(content)
            return content
        except (DvcException, SCMError, OSError) as error:
            raise ParameterError(
                f"{name}: must be an experiment, branch or commit with {path} in DVC's cache "
                f"({' '.join(str(error).split())}); `dvc exp show` lists the experiments."
            ) from None
        except ValueError as error:
            raise ParameterError(
                f"{name}: {path} must be what its stage writes; got {describe_damage(error)}."
            ) from None

    try:
        shown = dvc.api.exp_show(repo=str(root))
    except (DvcException, SCMError) as error:
        raise ParameterError(
            f"the current folder must be a project with DVC and git ({' '.join(str(error).split())})."
        ) from None
    finished = [row["Experiment"] for row in shown if row.get("Experiment") and row.get("State") in (None, "Success")]
    splits = {name: read(split, name, _Split) for name in names or finished}
    wanted = [name for name, content in splits.items() if names or content["method"] == "kfold"]
    return [
        FoldResult(experiment=name, split=splits[name], predictions=read(predictions, name, list[_Prediction]))
        for name in wanted
    ]


@dataclass(frozen=True)
class _Split:
    """What is read of split.json."""

    method: str
    fold: int | None
    folds: int | None
    test: list[str]
    groups: dict[str, str]
    groups_known: bool


@dataclass(frozen=True)
class _Prediction:
    """What is read of a row of predictions.json."""

    track: str
    actual: str
    predicted: str


def pool(results: Sequence[FoldResult]) -> dict[str, Any]:
    """Evaluate the pooled predictions of all folds.

    Parameters
    ----------
    results : sequence of FoldResult
        Each fold of one split once, in any order.

    Returns
    -------
    dict
        Over all tracks: ``tracks`` (their number), ``accuracy`` with ``accuracy_low`` and ``accuracy_high`` (95 %
        interval: a bootstrap over groups if artists are known, else Wilson's), ``macro_f1``. Over folds:
        ``accuracy_mean`` and ``accuracy_std`` (sample standard deviation). ``folds`` lists ``fold``, ``experiment``,
        ``tracks`` and ``accuracy`` of each.

    Raises
    ------
    ParameterError
        A fold is missing or given twice, or the experiments are not folds of the same split.
    """
    by_fold = _in_order(results)
    rows = [row for result in by_fold for row in result.predictions]
    genres = sorted({row[name] for row in rows for name in ("actual", "predicted")})
    actual, predicted = (np.array([genres.index(row[name]) for row in rows]) for name in ("actual", "predicted"))
    correct = actual == predicted
    split = by_fold[0].split
    if split["groups_known"]:
        low, high = bootstrap_interval(correct, clusters=np.array([split["groups"][row["track"]] for row in rows]))
    else:
        low, high = wilson(int(correct.sum()), len(correct))
    metrics = per_class(confusion_matrix(actual, predicted, len(genres)))
    accuracies = [
        float(np.mean([row["actual"] == row["predicted"] for row in result.predictions])) for result in by_fold
    ]
    return {
        "tracks": len(rows),
        "accuracy": float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": float(metrics["f1"][metrics["support"] > 0].mean()),
        "accuracy_mean": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies, ddof=1)),
        "folds": [
            {"fold": n, "experiment": result.experiment, "tracks": len(result.predictions), "accuracy": accuracy}
            for n, (result, accuracy) in enumerate(zip(by_fold, accuracies, strict=True))
        ],
    }


def _in_order(results: Sequence[FoldResult]) -> list[FoldResult]:
    """Return the folds in ascending order.

    Raises
    ------
    ParameterError
        As `pool`.
    """
    if not results:
        raise ParameterError(
            "folds: needs at least one k-fold experiment of the current commit; got none. "
            "`dvc exp run --queue -S split.method=kfold -S 'split.fold=0,1,2,3,4' evaluate` and `dvc queue start` run "
            "five, without registering their models."
        )
    total = results[0].split["folds"]
    by_fold: dict[int, FoldResult] = {}
    for result in results:
        fold, folds, method = (result.split[name] for name in ("fold", "folds", "method"))
        if method != "kfold":
            raise ParameterError(f"{result.experiment}: split.method must be kfold; got {method}.")
        if fold in by_fold or folds != total:
            other = by_fold.get(fold, results[0])
            raise ParameterError(
                f"{result.experiment}: must be another fold of the same split as {other.experiment}; got fold {fold} "
                f"of {folds}. `genreflow folds EXPERIMENT...` selects experiments."
            )
        by_fold[fold] = result
    if missing := sorted(set(range(total)) - set(by_fold)):
        raise ParameterError(
            f"folds: must be all {total} of a split; missing {', '.join(map(str, missing))}. "
            f"`dvc exp run -S split.method=kfold -S split.folds={total} -S split.fold={missing[0]} evaluate` runs one."
        )
    tested = sorted(track for result in by_fold.values() for track in result.split["test"])
    for result in by_fold.values():
        if tested != sorted(result.split["groups"].keys() - result.split.get("train_only", ())):
            raise ParameterError(
                f"{result.experiment}: the test parts of all folds must contain each of its tracks once; they do not, "
                "since data or split.seed differ. `genreflow folds EXPERIMENT...` selects experiments."
            )
    return [by_fold[fold] for fold in range(total)]
