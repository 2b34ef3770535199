"""`genreflow drift`: compare what the service was asked about with what its model is known to handle."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genreflow.cli.parameter_options import json_option
from genreflow.cli.paths import InputPath, OutputPath

if TYPE_CHECKING:
    from genreflow.monitoring.verdict import Verdict

DRIFT_EXIT_CODE = 3
EXPERIMENT = "genreflow-monitoring"
_AGO = re.compile(r"(\d{1,6})([dh])")


class Time(click.ParamType[datetime]):
    """A date, a date with a time, or how long ago, such as 7d or 12h. Without a time zone it is UTC."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if ago := _AGO.fullmatch(value):
                return datetime.now(UTC) - timedelta(**{{"d": "days", "h": "hours"}[ago[2]]: int(ago[1])})
            time = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"must be a time such as 2026-11-26, 2026-11-26T08:00, 7d or 12h; got {value!r}.", param, ctx)
        return time if time.tzinfo else time.replace(tzinfo=UTC)


@click.command()
@click.option(
    "--log",
    "directory",
    type=InputPath(),
    envvar="GENREFLOW_PREDICTION_LOG",
    default=Path("monitoring"),
    show_default=True,
    help="Log of the service; also by GENREFLOW_PREDICTION_LOG.",
)
@click.option(
    "--bundle",
    type=InputPath(),
    default=Path("models/champion"),
    show_default=True,
    help="Model.",
)
@click.option(
    "--last", type=click.IntRange(min=1, max=5000), default=500, show_default=True, help="Newest predictions."
)
@click.option("--since", type=Time(), help="Only later ones: a time in UTC, or how long ago, such as 7d or 12h.")
@click.option("--until", type=Time(), help="Only earlier ones.")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.05,
    show_default=True,
    help="Chance of a false alarm.",
)
@click.option(
    "--report", type=OutputPath(), default=Path("reports/drift.html"), show_default=True, help="Page to write."
)
@click.option("--mlflow/--no-mlflow", default=True, show_default=True, help="Whether to log a run in MLflow.")
@json_option
def drift(
    directory: Path,
    bundle: Path,
    last: int,
    since: datetime | None,
    until: datetime | None,
    alpha: float,
    report: Path,
    mlflow: bool,
    as_json: bool,
) -> None:
    """Compare the log of predictions with known music.

    Known are the held-out tracks that the model was measured on. The outcome is written to a page, to drift.json in the
    log, which the service shows in its metrics, and to MLflow. The exit code is 0 without drift, 3 with drift, and 2 if
    the two cannot be compared.
    """
    from genreflow.bundle import Bundle
    from genreflow.errors import GenreflowError
    from genreflow.files import write_json
    from genreflow.monitoring.drift_sample import Sample
    from genreflow.monitoring.last_check import CHECK_FILE
    from genreflow.monitoring.verdict import judge, reference_of, sample_of
    from genreflow.monitoring.window import read_window
    from genreflow.reporting.drift.page import write_page

    model = Bundle.load(bundle)
    reference = reference_of(model)
    window = read_window(directory, model.hash, last=last, since=since, until=until)
    verdict = judge(model, reference, window, alpha=alpha)
    write_page(report, verdict, Sample.of(reference), sample_of(window, reference, model.labels), model.labels)
    try:
        write_json(directory / CHECK_FILE, verdict.to_dict())
    except OSError as error:
        raise GenreflowError(f"{directory / CHECK_FILE}: must be writable; got {error.strerror}.") from error
    if mlflow:
        _log_run(verdict, [report, directory / CHECK_FILE])
    click.echo(json.dumps(verdict.to_dict(), indent=2) if as_json else _sentence(verdict, report))
    if verdict.drift:
        sys.exit(DRIFT_EXIT_CODE)


def _log_run(verdict: "Verdict", files: list[Path]) -> None:
    from genreflow.tracking.lineage import lineage_tags
    from genreflow.tracking.runs import run_name, start_run
    from genreflow.tracking.store import ensure_experiment, open_client
    from genreflow.tracking.summary import log_reports

    client = open_client()
    experiment = ensure_experiment(client, name=EXPERIMENT).experiment_id
    tags = lineage_tags(bundle_hash=verdict.model["hash"], drift=str(verdict.drift).lower())
    params = {"alpha": verdict.alpha, "version": verdict.model["version"], **verdict.window}
    name = run_name("drift" if verdict.drift else "no drift")
    with start_run(client, experiment, name, params=params, tags=tags) as run:
        run.log_metrics({"drift": float(verdict.drift), "p_value": verdict.tests[0].p_adjusted})
        run.log_metrics({f"p_{test.name}": test.p_adjusted for test in verdict.tests})
        run.log_metrics({f"statistic_{test.name}": test.statistic for test in verdict.tests})
        log_reports(client, run.run_id, files)


def _sentence(verdict: "Verdict", report: Path) -> str:
    window = verdict.window
    found = f"Drift in {', '.join(verdict.found)}" if verdict.drift else "No drift"
    left_out = [f"{window[name]} {text}" for name, text in _LEFT_OUT.items() if window[name]]
    return (
        f"{found} (smallest corrected p-value {verdict.tests[0].p_adjusted:.3f}): {window['predictions']} predictions "
        f"from {window['since']} to {window['until']}{'; ' + ', '.join(left_out) if left_out else ''}. See {report}."
    )


_LEFT_OUT = {"repeated": "repeated", "other_models": "of other models", "damaged": "damaged lines"}
