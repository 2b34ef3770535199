"""One figure over the experiments of a k-fold split, in which every track was tested once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genreflow.errors import ParameterError
from genreflow.evaluation.intervals import bootstrap_interval, wilson
from genreflow.evaluation.metrics import confusion_matrix, per_class


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """What an experiment found in its fold.

    Parameters
    ----------
    experiment : str
        Its name.
    split : dict
        What `Split.save` wrote.
    predictions : list of dict
        By test track, ``{"track", "actual", "predicted"}``.
    """

    experiment: str
    split: dict
    predictions: list[dict]


def read_folds(root: Path | str, names: Sequence[str], *, split: Path, predictions: Path) -> list[FoldResult]:
    """Read the k-fold experiments of a project.

    Parameters
    ----------
    root : Path
        Project folder.
    names : sequence of str
        Experiments, branches or commits; if empty, all k-fold experiments made from the present commit.
    split, predictions : Path
        Where a run leaves them.

    Raises
    ------
    ParameterError
        There is no such experiment, or its results are not in DVC's cache.
    """
    import dvc.api
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    def read(path: Path, name: str) -> object:
        try:
            return json.loads(dvc.api.read(path.as_posix(), repo=str(root), rev=name, encoding="utf-8"))
        except (DvcException, SCMError, OSError) as error:
            raise ParameterError(
                f"{path} of {name} cannot be read ({' '.join(str(error).split())}); `dvc exp show` lists the "
                "experiments, and `dvc exp run` makes them."
            ) from None

    shown = dvc.api.exp_show(repo=str(root))
    known = [row["Experiment"] for row in shown if row.get("Experiment") and row.get("State") in (None, "Success")]
    splits = {name: read(split, name) for name in names or known}
    wanted = [name for name, content in splits.items() if names or content["method"] == "kfold"]
    return [FoldResult(experiment=name, split=splits[name], predictions=read(predictions, name)) for name in wanted]


def pool(tested: Sequence[FoldResult]) -> dict:
    """Put the answers of all folds together.

    Parameters
    ----------
    tested : sequence of FoldResult
        Each fold of one split once.

    Returns
    -------
    dict
        ``tracks``, ``accuracy`` with ``accuracy_low`` and ``accuracy_high`` (95 %; a bootstrap over groups where
        artists are known, Wilson's else) and ``macro_f1``, over all tracks; ``accuracy_mean`` and ``accuracy_std``
        (sample standard deviation) over the folds; and ``folds``, each with ``fold``, ``experiment``, ``tracks`` and
        ``accuracy``.

    Raises
    ------
    ParameterError
        A fold is missing or there twice, or the experiments do not belong together.
    """
    by_fold = _in_order(tested)
    rows = [row for one in by_fold for row in one.predictions]
    groups = by_fold[0].split["groups"]
    genres = sorted({row[name] for row in rows for name in ("actual", "predicted")})
    actual, predicted = (np.array([genres.index(row[name]) for row in rows]) for name in ("actual", "predicted"))
    right = actual == predicted
    if by_fold[0].split["groups_known"]:
        low, high = bootstrap_interval(right, clusters=np.array([groups[row["track"]] for row in rows]))
    else:
        low, high = wilson(int(right.sum()), len(right))
    of_genre = per_class(confusion_matrix(actual, predicted, len(genres)))
    folds = [
        {
            "fold": fold,
            "experiment": one.experiment,
            "tracks": len(one.predictions),
            "accuracy": float(np.mean([row["actual"] == row["predicted"] for row in one.predictions])),
        }
        for fold, one in enumerate(by_fold)
    ]
    accuracies = [fold["accuracy"] for fold in folds]
    return {
        "tracks": len(rows),
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": float(of_genre["f1"][of_genre["support"] > 0].mean()),
        "accuracy_mean": float(np.mean(accuracies)),
        "accuracy_std": float(np.std(accuracies, ddof=1)),
        "folds": folds,
    }


def _in_order(tested: Sequence[FoldResult]) -> list[FoldResult]:
    """The folds from the first to the last, after a check that they are those of one split."""
    if not tested:
        raise ParameterError(
            "There is no k-fold experiment of this commit; "
            "`dvc exp run --queue -S split.method=kfold -S 'split.fold=0,1,2,3,4' evaluate` and `dvc queue start` make "
            "five, and no champion of them."
        )
    for one in tested:
        if one.split["method"] != "kfold":
            raise ParameterError(f"{one.experiment} was split by {one.split['method']}; kfold is needed.")
    total = tested[0].split["folds"]
    found: dict[int, FoldResult] = {}
    for one in tested:
        fold = one.split["fold"]
        if fold in found or one.split["folds"] != total:
            raise ParameterError(
                f"{one.experiment} (fold {fold} of {one.split['folds']}) and "
                f"{found.get(fold, tested[0]).experiment} are not of one series; "
                "name the experiments that belong together: `genreflow folds EXPERIMENT...`."
            )
        found[fold] = one
    if missing := sorted(set(range(total)) - set(found)):
        raise ParameterError(
            f"Of {total} folds {', '.join(map(str, missing))} {'is' if len(missing) == 1 else 'are'} missing; "
            f"`dvc exp run -S split.method=kfold -S split.folds={total} -S split.fold={missing[0]} "
            "evaluate` tests one."
        )
    tested_once = [track for one in found.values() for track in one.split["test"]]
    if any(sorted(tested_once) != sorted(one.split["groups"]) for one in found.values()):
        raise ParameterError(
            "These folds do not share out the same tracks once each: their data or split.seed differ; name the "
            "experiments that belong together: `genreflow folds EXPERIMENT...`."
        )
    return [found[fold] for fold in range(total)]
