"""Which hyperparameters decided about the track accuracy."""

import math
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from genreflow.reporting.study.rows import Row

FEWEST = 4


def importances(rows: Sequence[Row], objective: str) -> dict[str, float]:
    """Share of the variance of an objective that each hyperparameter explains: functional ANOVA.

    Hutter et al. 2014, "An Efficient Approach for Assessing Hyperparameter Importance". It wants hyperparameters that
    all trials have; an architecture's own learning rate is one of them once it bears the same name in all
    architectures. Optuna's default, PED-ANOVA, takes conditional ones too, but tells what sets the very best trials
    apart, which of a few dozen trials are four.

    Parameters
    ----------
    rows : sequence of Row
    objective : str
        Its name.

    Returns
    -------
    dict of str to float in [0, 1]
        Their sum is 1, the highest first; empty with fewer than `FEWEST` trials that came to their end, or if these
        or their hyperparameters are all equal.
    """
    done = [row for row in rows if row.outcome == "complete" and objective in row.values]
    values = [row.values[objective] for row in done]
    if len(done) < FEWEST or math.isclose(min(values), max(values)):
        return {}
    domains = {name: domain for name in done[0].params if (domain := _common(done, name)) is not None}
    names = list(dict.fromkeys(row.architecture for row in done))
    if len(names) > 1:
        domains["architecture"] = CategoricalDistribution(names)
    if not domains:
        return {}
    study = optuna.create_study()
    study.add_trials(
        optuna.create_trial(
            params={name: (row.params | {"architecture": row.architecture})[name] for name in domains},
            distributions=domains,
            value=row.values[objective],
        )
        for row in done
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def _common(rows: Sequence[Row], name: str) -> BaseDistribution | None:
    """The domain around those of all `rows`; None if one lacks the hyperparameter or all have the same value."""
    if not all(name in row.params for row in rows) or len({repr(row.params[name]) for row in rows}) < 2:
        return None
    domains = [row.domains[name] for row in rows]
    kinds = {(type(domain), getattr(domain, "log", None)) for domain in domains}
    if len(kinds) > 1:
        return None
    ((kind, log),) = kinds
    if kind is CategoricalDistribution:
        return CategoricalDistribution(list(dict.fromkeys(choice for domain in domains for choice in domain.choices)))
    low, high = min(domain.low for domain in domains), max(domain.high for domain in domains)
    return FloatDistribution(low, high, log=log) if kind is FloatDistribution else IntDistribution(low, high, log=log)
