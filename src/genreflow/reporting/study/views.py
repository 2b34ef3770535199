"""The plots of a study: what came of its trials, and why."""

from collections.abc import Sequence
from itertools import accumulate

from genreflow.reporting.study.charts import LOG_FROM, Chart, Panel, Series, number, spoken
from genreflow.reporting.study.importance import FEWEST
from genreflow.reporting.study.points import VALUELESS, about, alike, floor_of, lower_edge, points, ring
from genreflow.reporting.study.rows import Objective, Row, known_costs

# Finished trials below which a figure of importance is a rough guess: a new seed of the search changes the order.
ROUGH = 50


def history(rows: Sequence[Row], objectives: Sequence[Objective], mark: str) -> Chart:
    """Accuracy in the order of the trials."""
    accuracy = objectives[0].name
    title = f"{mark}optimisation history"
    scored = [row for row in rows if accuracy in row.values]
    if not scored:
        return Chart(key="history", title=title, reading="No trial has a track accuracy yet.")
    floor = floor_of(scored, accuracy)
    shown = [row for row in rows if accuracy in row.values or row.outcome in VALUELESS]
    series = points(shown, lambda row: row.number, lambda row: row.values.get(accuracy, floor), objectives)
    done = [row for row in rows if row.outcome == "complete" and accuracy in row.values]
    best = list(accumulate((row.values[accuracy] for row in done), max))
    if done:
        last = max(row.number for row in shown)
        series.insert(
            0,
            Series(
                x=[*(row.number for row in done), last],
                y=[*best, best[-1]],
                texts=[f"best until trial {row.number}: {number(value)}" for row, value in zip(done, best, strict=True)]
                + [f"best: {number(best[-1])}"],
                line="steps",
                opacity=0.6,
            ),
        )
    reading = (
        "Every point is a trial, in the order in which they began; the line is the best of those that came to their "
        "end within all limits. It should rise and then level off; still rising at its end, it asks for more trials."
        + lower_edge(shown, accuracy)
    )
    panel = Panel(x_title="Trial", y_title=objectives[0].title, series=series)
    return Chart(key="history", title=title, reading=reading, panels=[panel], ring=ring(rows, objectives))


def learning_curves(rows: Sequence[Row], objectives: Sequence[Objective], mark: str) -> Chart:
    """Accuracy after each epoch."""
    title = f"{mark}learning curves"
    drawn = [row for row in rows if row.curve]
    if not drawn:
        return Chart(key="learning_curves", title=title, reading="No trial has finished an epoch yet.")
    series = []
    for own in alike(drawn):
        series.append(_curves(own, objectives))
        # Where a curve ends tells how; one epoch alone makes no line.
        ends = [row for row in own if row.chosen or row.outcome != "complete" or len(row.curve) == 1]
        series += points(ends, lambda row: len(row.curve), lambda row: row.curve[-1], objectives)
    reading = (
        "Track accuracy on validation after each epoch, solid for trials that came to their end, dotted up to their "
        "mark for those that did not; a pruned one was on its way to an end below the median of all others."
    )
    if any(row.chosen for row in drawn):
        reading += " The thick line with the star is the chosen trial."
    panel = Panel(x_title="Epoch", y_title=objectives[0].title, series=series)
    return Chart(key="learning_curves", title=title, reading=reading, panels=[panel])


def _curves(rows: Sequence[Row], objectives: Sequence[Objective]) -> Series:
    """The curves of trials that look alike, as one line that is lifted between them."""
    look, x, y, texts = rows[0], [], [], []
    for row in rows:
        text = about(row, objectives)
        x += [*range(1, len(row.curve) + 1), None]
        y += [*row.curve, None]
        texts += [*(f"{text}\nepoch {epoch}: {value:.3f}" for epoch, value in enumerate(row.curve, 1)), ""]
    return Series(
        x=x,
        y=y,
        texts=texts,
        colour=look.colour,
        line="solid" if look.outcome == "complete" else "dot",
        width=4 if look.chosen else 1.5,
        opacity=1.0 if look.chosen else 0.75 if look.outcome == "complete" else 0.6,
        architecture=look.architecture,
        outcome=look.outcome,
    )


def trade_off(rows: Sequence[Row], objectives: Sequence[Objective], mark: str) -> Chart:
    """Accuracy against each cost; of several objectives, with their Pareto front."""
    accuracy, several = objectives[0].name, len(objectives) > 1
    title = f"{mark}Pareto front" if several else f"{mark}accuracy against costs"
    panels = [panel for cost in known_costs(rows, objectives) for panel in _panel(rows, objectives, cost)]
    if not panels:
        return Chart(key="pareto_front", title=title, reading="No trial has both a track accuracy and a cost yet.")
    reading = (
        "Up and to the left is better. The ringed trials are Pareto-optimal: no other is at least as good in every "
        "objective and better in one."
        if several
        else "Up and to the left is better. The study was after accuracy alone: whether the last percent is worth "
        "its cost is yours to weigh."
    )
    if len(objectives) > 2:
        reading += " One that looks beaten in a panel owes its ring to another."
    if any(row.chosen for row in rows):
        reading += " The star is the chosen trial."
    return Chart(
        key="pareto_front",
        title=title,
        reading=reading + lower_edge([row for row in rows if row.outcome in VALUELESS and row.values], accuracy),
        panels=panels,
        ring=ring(rows, objectives),
    )


def _panel(rows: Sequence[Row], objectives: Sequence[Objective], cost: Objective) -> list[Panel]:
    """The panel of a cost; none if no trial has both it and an accuracy."""
    accuracy = objectives[0]
    costly = [row for row in rows if cost.name in row.values]
    scored = [row for row in costly if accuracy.name in row.values]
    if not scored:
        return []
    floor = floor_of(scored, accuracy.name)
    shown = [row for row in costly if accuracy.name in row.values or row.outcome in VALUELESS]
    series = points(
        shown, lambda row: row.values[cost.name], lambda row: row.values.get(accuracy.name, floor), objectives
    )
    front = sorted((row.values[cost.name], row.values[accuracy.name]) for row in scored if row.front)
    if len(objectives) == 2 and len(front) > 1:  # of more, a projection of the front is no line
        x, y = zip(*front, strict=True)
        series.insert(0, Series(x=x, y=y, line="steps", opacity=0.6))
    costs = [row.values[cost.name] for row in shown]
    log_x = min(costs) > 0 and max(costs) / min(costs) > LOG_FROM
    return [Panel(x_title=cost.title, y_title=accuracy.title, series=series, log_x=log_x)]


def importance(rows: Sequence[Row], shares: dict[str, float], mark: str) -> Chart:
    """Bars of the hyperparameters that decided about accuracy."""
    title = f"{mark}parameter importances"
    done = sum(row.outcome == "complete" for row in rows)
    if not shares:
        reading = (
            f"It takes {FEWEST} finished trials that differ in a hyperparameter and in track accuracy to say which "
            f"hyperparameter matters; there {'is' if done == 1 else 'are'} {done or 'none'}."
            if done < FEWEST
            else f"The {done} finished trials do not differ in track accuracy or in any hyperparameter they all have."
        )
        return Chart(key="importances", title=title, reading=reading)
    reading = (
        "The share of the differences in track accuracy that each hyperparameter explains on its own (functional "
        f"ANOVA), over the {done} finished trials and the hyperparameters that all of them have."
    )
    if done < ROUGH:
        reading += f" With fewer than {ROUGH} trials this is a rough guess: trust the order of the first ones at most."
    basis = f"{done} finished trials{': a rough guess' if done < ROUGH else ''}"
    panel = Panel(
        x_title=f"Share of explained variance\n({basis})", bars={spoken(name): share for name, share in shares.items()}
    )
    return Chart(key="importances", title=title, reading=reading, panels=[panel])
