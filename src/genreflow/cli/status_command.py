"""`genreflow status`: what the project has made, how good it is, what is out of date, and what to do next."""

import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from genreflow.cli.parameter_options import json_option
from genreflow.registry.track_accuracy import PARTS, Accuracy

if TYPE_CHECKING:
    from genreflow.stages.project_status import ChampionStatus, DataStatus, ProjectStatus, StudyStatus

WIDTH, INDENT = 100, 10
NO_BREAK = "\N{NO-BREAK SPACE}"
# Stages that are named; more are counted.
MAX_STALE = 6


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show data, study, champion and what is out of date."""
    from genreflow.stages.project_status import read_status

    found = read_status()
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        return
    for title, lines in sections(found).items():
        click.echo()
        for number, line in enumerate(lines):
            click.echo(f"{title if number == 0 else '':<{INDENT}}{line}".rstrip())


def sections(found: "ProjectStatus") -> dict[str, list[str]]:
    """Return the lines of each section by its title."""
    return {
        "Data": list(_data(found)),
        "Study": list(_study(found.study)),
        "Champion": list(_champion(found)),
        "Stale": list(_stale(found)),
        "Reports": _table(found.reports) or ["none yet: dvc repro"],
        "Next": _table(_next(found)),
    }


def _data(found: "ProjectStatus") -> Iterator[str]:
    data: DataStatus | None = found.data
    if data is None:
        yield from _wrap(f"not read yet: dvc repro (params.yaml: {found.source}, {found.path})")
        return
    artists = "" if data.artists is None else f", {_count(data.artists, 'artist')}"
    yield f"{data.source}: {_count(sum(data.genres.values()), 'track')}, {_count(len(data.genres), 'genre')}{artists}"
    yield from _wrap(", ".join(f"{genre}{NO_BREAK}{number}" for genre, number in data.genres.items()))
    if data.parts:
        parts = ", ".join(f"{number} {part}" for part, number in data.parts.items())
        yield f"split {data.split}{' (LEAKING)' if data.leaking else ''}: {parts}"
    if data.source != found.source:
        yield from _wrap(f"params.yaml has {found.source}, {found.path}: dvc repro reads it")


def _study(study: "StudyStatus | None") -> Iterator[str]:
    if study is None:
        yield "none yet: dvc repro"
        return
    counts = ", ".join(f"{number} {state}" for state, number in study.counts.items())
    yield f"{study.study}: {_count(len(study.trials), 'trial')} ({counts})"
    if best := study.best:
        accuracy = best.values.get("track_accuracy")
        value = "" if accuracy is None else f", {accuracy:.1%} of the validation tracks"
        yield f"trial {best.number} was trained: {best.architecture}{value}"


def _champion(found: "ProjectStatus") -> Iterator[str]:
    champion: ChampionStatus | None = found.champion
    if champion is None:
        yield "none yet: dvc repro" if found.gate is None else "none"
    else:
        yield f"version {champion.version}: {champion.architecture}, {_count(champion.genres, 'genre')}"
        if accuracy := champion.accuracy:
            number = "" if accuracy.tracks is None else f"{accuracy.tracks:,} "
            yield f"accuracy on {number}{PARTS[accuracy.part]}, with 95 % intervals:"
            yield from map(_row, (accuracy.model, *accuracy.baselines))
            if accuracy.not_beaten:
                yield from _wrap(f"The model does not beat: {', '.join(accuracy.not_beaten)}.")
        if champion.notice:
            yield from _wrap(champion.notice)
    gate = found.gate
    if gate is not None and (champion is None or gate.version != champion.version):
        yield from _wrap(f"The last model is version {gate.version}. {gate.reason}")


def _row(accuracy: Accuracy) -> str:
    interval = "" if accuracy.low is None or accuracy.high is None else f"{accuracy.low:.1%} to {accuracy.high:.1%}"
    return f"{accuracy.value:>6.1%}  {interval:>16}  {accuracy.name}"


def _stale(found: "ProjectStatus") -> Iterator[str]:
    if found.stale is None:
        yield from _wrap(f"unknown: {found.stale_error}")
        return
    if not found.stale:
        yield "nothing"
        return
    for stage, changes in list(found.stale.items())[:MAX_STALE]:
        more = f" and {len(changes) - 2} more" if len(changes) > 2 else ""
        yield from _wrap(f"{stage}: {', '.join(changes[:2])}{more}")
    if len(found.stale) > MAX_STALE:
        yield f"{_count(len(found.stale) - MAX_STALE, 'more stage')}"
    yield "dvc repro runs these, and what depends on them"


def _next(found: "ProjectStatus") -> dict[str, str]:
    """Return commands, and what they do."""
    if found.champion is None:
        return {"dvc repro": "runs the pipeline: audit, split, study, fit, evaluation"}
    source = found.data.source if found.data else found.source
    music = {"genreflow use ~/music": "your own music (one folder per genre), then: dvc repro"}
    return {
        "make serve": "a page to drop music on: http://127.0.0.1:3000/ui",
        "make ui": "runs and models in MLflow",
        **(music if source == "demo" else {"genreflow use demo": "back to the demo music, then: dvc repro"}),
    }


def _table(rows: dict[str, str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [f"{name:<{width}}  {content}" for name, content in rows.items()]


def _wrap(text: str) -> list[str]:
    lines = textwrap.wrap(text, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False)
    return [line.replace(NO_BREAK, " ") for line in lines]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
