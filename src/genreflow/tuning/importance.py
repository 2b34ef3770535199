"""Hyperparameter importances of a study."""

import math
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

ARCHITECTURE = "architecture"
MIN_TRIALS = 4


def importances(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Compute the share of the first objective's variance that each hyperparameter explains: functional ANOVA.

    Source: Hutter, Hoos and Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance". It
    needs hyperparameters that all trials have; the learning rates of all architectures count as one of them. Optuna's
    default, PED-ANOVA, also accepts conditional hyperparameters, but explains what distinguishes the best tenth of the
    trials, which of a few dozen trials are four.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        Completed trials.

    Returns
    -------
    dict of str to float in [0, 1]
        By `own_name`; they sum to 1, the highest first. Empty with fewer than `MIN_TRIALS` trials, if the values of all
        are equal, or if no hyperparameter that all of them have varies.
    """
    trials = [trial for trial in trials if math.isfinite(trial.values[0])]
    values = [trial.values[0] for trial in trials]
    if len(trials) < MIN_TRIALS or math.isclose(min(values), max(values)):
        return {}
    params = [own_params(trial) for trial in trials]
    distributions = [{own_name(name, trial): of for name, of in trial.distributions.items()} for trial in trials]
    common = {
        name: joined
        for name in params[0]
        if all(name in of for of in params)
        and len({repr(of[name]) for of in params}) > 1
        and (joined := _joined([of[name] for of in distributions])) is not None
    }
    if not common:
        return {}
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.create_trial(params={name: of[name] for name in common}, distributions=common, value=value)
        for of, value in zip(params, values, strict=True)
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def own_name(name: str, trial: FrozenTrial) -> str:
    """Return a hyperparameter's name without its architecture and, of a learning rate, without its optimiser."""
    own = name.removeprefix(f"{trial.params.get(ARCHITECTURE, '')}.")
    return "learning_rate" if own.startswith("learning_rate.") else own


def own_params(trial: FrozenTrial) -> dict[str, object]:
    """Return the hyperparameters of a trial by `own_name`, the architecture among them."""
    return {own_name(name, trial): value for name, value in trial.params.items()}


def _joined(distributions: Sequence[BaseDistribution]) -> BaseDistribution | None:
    """Return a distribution that covers all of the given; None if they differ in type or scale."""
    categorical = [of for of in distributions if isinstance(of, CategoricalDistribution)]
    floats = [of for of in distributions if isinstance(of, FloatDistribution)]
    integers = [of for of in distributions if isinstance(of, IntDistribution)]
    if len(categorical) == len(distributions):
        return CategoricalDistribution(list(dict.fromkeys(choice for of in categorical for choice in of.choices)))
    if len({of.log for of in floats} | {of.log for of in integers}) > 1:
        return None
    if len(floats) == len(distributions):
        return FloatDistribution(min(of.low for of in floats), max(of.high for of in floats), log=floats[0].log)
    if len(integers) == len(distributions):
        return IntDistribution(min(of.low for of in integers), max(of.high for of in integers), log=integers[0].log)
    return None
