"""`genreflow audit` and `genreflow folds`: what is wrong with data, and what k-fold splits measured."""

import json
from functools import partial
from pathlib import Path

import click

from genreflow.audit.params import AuditParams
from genreflow.cli.parameter_options import jobs_option, json_option, parameter_options
from genreflow.cli.paths import InputPath, OutputPath


@click.command()
@click.argument("path", metavar="DIR", type=InputPath())
@click.option("--tracks", type=InputPath(), help="Table of genres and artists, such as data/tracks.csv.")
@parameter_options(AuditParams)
@click.option("--html", "page", type=OutputPath(), help="Also write a page with plots to this file.")
@jobs_option
@json_option
def audit(
    path: Path, tracks: Path | None, page: Path | None, jobs: int | None, as_json: bool, **thresholds: float | bool
) -> None:
    """Find tracks that cannot or should not be used.

    DIR is a folder of music (<genre>/[<artist>/]<file>), a folder of spectrograms, or an .npz of them. Nothing in it
    is changed.
    """
    from genreflow.audit.directory import audit_directory
    from genreflow.audit.summary import format_audit

    draw = None
    if page is not None:
        from genreflow.reporting.audit.page import write_page

        draw = partial(write_page, page)
    params = AuditParams.model_validate(thresholds)
    report = audit_directory(path, params, tracks_csv=tracks, draw=draw, n_jobs=jobs or -1)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo(format_audit(report, more="--json lists all"))


@click.command()
@click.argument("experiments", nargs=-1)
@json_option
def folds(experiments: tuple[str, ...], as_json: bool) -> None:
    """Combine the folds of a k-fold split.

    Every track is in the test part of one fold, so the accuracy is over all tracks.

    EXPERIMENTS are names from `dvc exp show`.  [default: all k-fold experiments of the current commit]
    """
    from genreflow.splits.folds import pool, read_folds
    from genreflow.stages import PREDICTIONS, SPLIT

    found = pool(read_folds(".", experiments, split=SPLIT, predictions=PREDICTIONS))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for fold in found["folds"]:
        click.echo(
            f"fold {fold['fold']:<3} {fold['accuracy']:6.1%}  of {fold['tracks']:>6} tracks  {fold['experiment']}"
        )
    click.echo(
        f"all      {found['accuracy']:6.1%}  of {found['tracks']:>6} tracks  (95 %: {found['accuracy_low']:.1%} "
        f"to {found['accuracy_high']:.1%}), macro F1 {found['macro_f1']:.3f}; mean of the "
        f"folds {found['accuracy_mean']:.1%}, standard deviation {100 * found['accuracy_std']:.1f} points"
    )
