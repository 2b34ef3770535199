"""Trials as points: one look for each pair of architecture and outcome, the same in every plot."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from genreflow.reporting.study.charts import Series, number
from genreflow.reporting.study.rows import OUTCOMES, Objective, Row, known_costs

VALUELESS = ("infeasible", "failed", "interrupted")


def about(row: Row, objectives: Sequence[Objective]) -> str:
    """What stands on a trial's point, in lines."""
    known = [o for o in (objectives[0], *known_costs([row], objectives)) if o.name in row.values]
    ending = {"pruned": f"pruned after {len(row.curve)} epochs", "complete": "chosen" if row.chosen else ""}
    head = ", ".join(filter(None, (f"trial {row.number}", row.architecture, ending.get(row.outcome, row.outcome))))
    return "\n".join([head, *(f"{o.title}: {number(row.values[o.name])}" for o in known), *filter(None, [row.reason])])


def alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Groups of trials that look alike: those of the front above others, the chosen one alone and on top."""
    groups = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.chosen, row.front)):
        groups[row.chosen, row.front, row.architecture, row.outcome].append(row)
    return list(groups.values())


def points(
    rows: Sequence[Row], x: Callable[[Row], float], y: Callable[[Row], float], objectives: Sequence[Objective]
) -> list[Series]:
    """A point for each trial; a star for the chosen one."""
    return [
        Series(
            x=[x(row) for row in own],
            y=[y(row) for row in own],
            texts=[about(row, objectives) for row in own],
            colour=look.colour,
            symbol="star" if look.chosen else OUTCOMES[look.outcome],
            size=18 if look.chosen else 11 if look.front else 8,
            opacity=1.0 if look.outcome == "complete" else 0.85,
            architecture=look.architecture,
            outcome=look.outcome,
            ring=look.chosen or look.front,
        )
        for own in alike(rows)
        for look in own[:1]
    ]


def ring(rows: Sequence[Row], objectives: Sequence[Objective]) -> str:
    """What sets the trials of the front apart; empty if there is none but the chosen one."""
    if not any(row.front and not row.chosen for row in rows):
        return ""
    return "Pareto-optimal" if len(objectives) > 1 else "most accurate"


def floor_of(scored: Sequence[Row], accuracy: str) -> float:
    """A height below all accuracies, for the trials that have none."""
    values = [row.values[accuracy] for row in scored]
    return min(values) - max(0.02, 0.08 * (max(values) - min(values)))


def lower_edge(shown: Sequence[Row], accuracy: str) -> str:
    """A sentence on the trials that stand there for want of an accuracy; empty if there are none."""
    kinds = dict.fromkeys(row.outcome for row in shown if accuracy not in row.values)
    return f" At the lower edge: {', '.join(kinds)} trials, which have no accuracy." if kinds else ""
