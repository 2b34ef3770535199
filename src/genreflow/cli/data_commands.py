"""`genreflow audit` and `genreflow folds`: what is wrong with data, and what k-fold splits measured."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genreflow.audit.params import AuditParams
from genreflow.cli.parameter_options import jobs_option, json_option, parameter_options
from genreflow.cli.paths import InputPath, OutputPath

if TYPE_CHECKING:
    from genreflow.audit.faults import Audit
    from genreflow.features.store import FeatureStore
    from genreflow.label_errors.label_report import LabelReport
    from genreflow.manifest.manifest import Manifest

EXCERPT_SECONDS = 8.0


@click.command()
@click.argument("path", metavar="DIR", type=InputPath())
@click.option("--tracks", type=InputPath(), help="Table of genres and artists, such as data/tracks.csv.")
@parameter_options(AuditParams)
@click.option("--labels", is_flag=True, help="Also list tracks whose genre is probably wrong, as to other artists.")
@click.option("--html", "page", type=OutputPath(), help="Also write a page with plots to this file.")
@jobs_option
@json_option
def audit(
    path: Path,
    tracks: Path | None,
    labels: bool,
    page: Path | None,
    jobs: int | None,
    as_json: bool,
    **thresholds: float | bool,
) -> None:
    """Find tracks that cannot or should not be used.

    DIR is a folder of music (<genre>/[<artist>/]<file>), a folder of spectrograms, or an .npz of them. Nothing in it
    is changed.
    """
    from genreflow.audit.directory import audit_directory
    from genreflow.audit.summary import format_audit

    found: LabelReport | None = None

    def use_features(audit: "Audit", manifest: "Manifest", store: "FeatureStore") -> None:
        nonlocal found
        if labels:
            from genreflow.label_errors.find import find_label_errors
            from genreflow.label_errors.track_features import summary_features

            found = find_label_errors(manifest, audit, summary_features(store))
        if page is not None:
            from genreflow.reporting.audit.page import LabelErrors, write_page

            shown = None if found is None else LabelErrors(found, path, EXCERPT_SECONDS)
            write_page(page, audit, manifest, store, shown)

    report = audit_directory(
        path,
        AuditParams.model_validate(thresholds),
        tracks_csv=tracks,
        use_features=use_features if labels or page is not None else None,
        n_jobs=jobs or -1,
    )
    if as_json:
        content = report.to_dict() | ({} if found is None else {"labels": found.to_dict()})
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    click.echo(format_audit(report, more="--json lists all"))
    if found is not None:
        from genreflow.label_errors.label_report import format_label_report

        click.echo(format_label_report(found, more="--json lists all"))


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
