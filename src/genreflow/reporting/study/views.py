"""The plots of a study: optimisation history, learning curves, trade-offs and hyperparameter importances."""

from collections.abc import Sequence
from itertools import accumulate

from genreflow.reporting.study.charts import LOG_RATIO, Chart, Panel, Series
from genreflow.reporting.study.data import ACCURACY, Objective, Study, Trial
from genreflow.reporting.study.formatting import format_number, label
from genreflow.reporting.study.points import (
    WITHOUT_ACCURACY,
    baseline,
    baseline_note,
    group_by_style,
    hover_text,
    outline_meaning,
    points,
)

# With fewer finished trials, importances vary so much with the sampler's seed that they are called an estimate.
RELIABLE_TRIALS = 50


def history(study: Study) -> Chart:
    """Draw the accuracy in the order of the trials, and the best accuracy so far."""
    title = f"{study.mark}optimisation history"
    scored = [trial for trial in study.trials if ACCURACY in trial.values]
    if not scored:
        return Chart(key="history", title=title, explanation="No trial has a track accuracy yet.")
    bottom = baseline(scored)
    drawn = [trial for trial in study.trials if ACCURACY in trial.values or trial.state in WITHOUT_ACCURACY]
    series = points(
        drawn, lambda trial: trial.number, lambda trial: trial.values.get(ACCURACY, bottom), study.objectives
    )
    finished = [trial for trial in scored if trial.state == "finished"]
    if finished:
        series.insert(0, _best_so_far(finished, last=max(trial.number for trial in drawn)))
    explanation = (
        "Every point is a trial, in the order in which the trials began; the line is the best finished trial so far. "
        "It should rise and then level off; if it still rises at the end, more trials may find a better model."
        + baseline_note(drawn)
    )
    panel = Panel(x_title="Trial", y_title=study.objectives[0].title, series=series, integer_x=True)
    return Chart(key="history", title=title, explanation=explanation, panels=[panel], outline=outline_meaning(study))


def _best_so_far(finished: Sequence[Trial], *, last: int) -> Series:
    best = list(accumulate((trial.values[ACCURACY] for trial in finished), max))
    hover = [
        f"best up to trial {trial.number}: {format_number(value)}" for trial, value in zip(finished, best, strict=True)
    ]
    return Series(
        x=[*(trial.number for trial in finished), last],
        y=[*best, best[-1]],
        hover=[*hover, f"best: {format_number(best[-1])}"],
        line="steps",
        opacity=0.6,
    )


def learning_curves(study: Study) -> Chart:
    """Draw the accuracy of all trials after each epoch."""
    title = f"{study.mark}learning curves"
    drawn = [trial for trial in study.trials if trial.curve]
    if not drawn:
        return Chart(key="learning_curves", title=title, explanation="No trial has finished an epoch yet.")
    series = []
    for group in group_by_style(drawn):
        series.append(_curves(group, study.objectives))
        # A marker at the end of a curve shows the trial's state; a single epoch makes no line.
        ends = [trial for trial in group if trial.chosen or trial.state != "finished" or len(trial.curve) == 1]
        series += points(ends, lambda trial: len(trial.curve), lambda trial: trial.curve[-1], study.objectives)
    explanation = (
        "Track accuracy on validation after each epoch: solid lines are finished trials, dotted lines end at the "
        "marker of another state. A pruned trial was extrapolated to end below the median of the others."
    )
    if any(trial.chosen for trial in drawn):
        explanation += " The thick line with the star is the chosen trial."
    panel = Panel(x_title="Epoch", y_title=study.objectives[0].title, series=series, integer_x=True)
    return Chart(key="learning_curves", title=title, explanation=explanation, panels=[panel])


def _curves(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Series:
    """Return the curves of trials in the same style as a single line with gaps between the trials."""
    x: list[float | None] = []
    y: list[float | None] = []
    hover: list[str] = []
    for trial in trials:
        text = hover_text(trial, objectives)
        x += [*range(1, len(trial.curve) + 1), None]
        y += [*trial.curve, None]
        hover += [*(f"{text}\nepoch {epoch}: {value:.3f}" for epoch, value in enumerate(trial.curve, 1)), ""]
    first = trials[0]
    finished = first.state == "finished"
    return Series(
        x=x,
        y=y,
        hover=hover,
        colour=first.colour,
        line="solid" if finished else "dot",
        width=4 if first.chosen else 1.5,
        opacity=1.0 if first.chosen else 0.75 if finished else 0.6,
        architecture=first.architecture,
        state=first.state,
    )


def trade_off(study: Study) -> Chart:
    """Draw accuracy against each cost; with several objectives, their Pareto front."""
    several = len(study.objectives) > 1
    title = f"{study.mark}Pareto front" if several else f"{study.mark}accuracy against costs"
    panels = [panel for cost in study.costs for panel in _trade_off_panel(study, cost)]
    if not panels:
        explanation = "No trial has both a track accuracy and a cost yet."
        return Chart(key="pareto_front", title=title, explanation=explanation)
    explanation = "Up and to the left is better. " + (
        "The outlined trials are Pareto-optimal: no other trial is at least as good in every objective and better in "
        "one."
        if several
        else "The study optimised accuracy only: whether the last percent is worth its cost is for you to decide."
    )
    if len(study.objectives) > 2:
        explanation += " A Pareto-optimal trial may be dominated in one panel and not in another."
    if any(trial.chosen for trial in study.trials):
        explanation += " The star is the chosen trial."
    explanation += baseline_note([trial for trial in study.trials if trial.state in WITHOUT_ACCURACY and trial.values])
    return Chart(
        key="pareto_front", title=title, explanation=explanation, panels=panels, outline=outline_meaning(study)
    )


def _trade_off_panel(study: Study, cost: Objective) -> list[Panel]:
    """Return the panel of a cost; none if no trial has both it and an accuracy."""
    measured = [trial for trial in study.trials if cost.name in trial.values]
    scored = [trial for trial in measured if ACCURACY in trial.values]
    if not scored:
        return []
    bottom = baseline(scored)
    drawn = [trial for trial in measured if ACCURACY in trial.values or trial.state in WITHOUT_ACCURACY]
    series = points(
        drawn,
        lambda trial: trial.values[cost.name],
        lambda trial: trial.values.get(ACCURACY, bottom),
        study.objectives,
    )
    front = sorted((trial.values[cost.name], trial.values[ACCURACY]) for trial in scored if trial.pareto_optimal)
    if len(study.objectives) == 2 and len(front) > 1:  # the projection of a front in more dimensions is not a line
        series.insert(0, Series(x=[x for x, _ in front], y=[y for _, y in front], line="steps", opacity=0.6))
    costs = [trial.values[cost.name] for trial in drawn]
    log_x = min(costs) > 0 and max(costs) / min(costs) > LOG_RATIO
    return [Panel(x_title=cost.title, y_title=study.objectives[0].title, series=series, log_x=log_x)]


def importance(study: Study) -> Chart:
    """Draw bars of the hyperparameter importances."""
    title = f"{study.mark}hyperparameter importances"
    finished = sum(trial.state == "finished" for trial in study.trials)
    if not study.importances:
        explanation = (
            "Importances need at least four finished trials that differ in track accuracy and in a hyperparameter that "
            f"all of them have; this study has {finished} finished trial{'' if finished == 1 else 's'}."
        )
        return Chart(key="importances", title=title, explanation=explanation)
    explanation = (
        "Share of the variance in track accuracy that each hyperparameter explains on its own (functional ANOVA), over "
        f"the {finished} finished trials and the hyperparameters that all of them have."
    )
    if finished < RELIABLE_TRIALS:
        explanation += f" With fewer than {RELIABLE_TRIALS} trials this is a rough estimate."
    panel = Panel(
        x_title=f"Share of explained variance ({finished} finished trials)",
        bars={label(name): share for name, share in study.importances.items()},
    )
    return Chart(key="importances", title=title, explanation=explanation, panels=[panel])
