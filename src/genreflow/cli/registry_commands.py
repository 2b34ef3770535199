"""`genreflow registry`: registered model versions and the champion."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genreflow.cli.comparison_table import comparison_lines
from genreflow.cli.parameter_options import json_option

if TYPE_CHECKING:
    from genreflow.registry.model_registry import Registry
    from genreflow.registry.pointer import Pointer
    from genreflow.registry.version import Version

POINTER = Path("models/champion.json")
# Columns of the list of versions: the accuracy is on test tracks, or on validation tracks where there is no test part.
HEAD = ("version", "track accuracy", "best baseline", "registered (UTC)", "bundle", "aliases")


@click.group()
def registry() -> None:
    """List model versions and choose the champion."""


model_option = click.option(
    "--model", metavar="NAME", help="Registered model.  [default: gate.registered_model of params.yaml]"
)


@registry.command("list")
@model_option
@json_option
def list_versions(model: str | None, as_json: bool) -> None:
    """List the registered versions, newest first."""
    versions = _open(model).versions() if _exists() else []
    if as_json:
        click.echo(json.dumps([version.to_dict() for version in versions], indent=2))
        return
    if not versions:
        click.echo("No model is registered yet; `dvc repro` registers the first.")
        return
    rows = [HEAD, *map(_row, versions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@registry.command()
@click.argument("version")
@click.option("--reason", default="", help="Why; required if the gate refused VERSION.")
@model_option
@json_option
def promote(version: str, reason: str, model: str | None, as_json: bool) -> None:
    """Make VERSION the champion; `dvc repro` then packages it.

    The version records who did it, when and why.
    """
    _show(_open(model).promote_by_hand(version, POINTER, why=reason.strip()), as_json)


@registry.command()
@json_option
def rollback(as_json: bool) -> None:
    """Return to the previous champion; `dvc repro` then packages it."""
    from genreflow.registry.pointer import read_pointer

    pointer = read_pointer(POINTER)
    _show(_open(pointer.name if pointer else None).rollback(POINTER), as_json)


@registry.command("compare")
@click.argument("first")
@click.argument("second")
@model_option
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write a page with the changed tracks."
)
@json_option
def compare_versions(first: str, second: str, model: str | None, html: Path | None, as_json: bool) -> None:
    """Compare two versions on held-out tracks.

    The tracks are those that neither was trained on. FIRST and SECOND are versions or aliases, such as `champion`, or
    NAME/VERSION of another registered model.
    """
    from genreflow.stages.model_comparison import compare_versions as compare

    comparison = compare(first, second, model=_open(model).name)
    if html is not None:
        from genreflow.stages.comparison_report import write_report

        write_report(html, comparison)
    if as_json:
        click.echo(json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False))
        return
    for line in comparison_lines(comparison):
        click.echo(line)


@registry.command("relocate")
@json_option
def relocate_artifacts(as_json: bool) -> None:
    """Correct MLflow's paths after the project was moved or copied.

    MLflow stores the absolute path of each model and run. Afterwards those of a copy are independent of the original.
    """
    from genreflow.tracking.store import relocate_project

    changed = relocate_project()
    if as_json:
        click.echo(json.dumps(changed, indent=2))
        return
    for former, count in changed.items():
        click.echo(f"{count} paths in {former} now point to this project.")
    if not changed:
        click.echo("All paths point to this project already.")


def _exists() -> bool:
    """Return False if the store is a database that does not exist, which none of these commands may create."""
    from genreflow.sqlite import database_path
    from genreflow.tracking.store import tracking_uri

    path = database_path(tracking_uri())
    return path is None or path.exists()


def _open(model: str | None = None) -> "Registry":
    """Open a registered model; by default that of params.yaml."""
    from genreflow.errors import GenreflowError
    from genreflow.registry.model_registry import Registry
    from genreflow.tracking.store import tracking_uri, without_credentials

    if not _exists():
        raise GenreflowError(
            f"{without_credentials(tracking_uri())}: must exist; got no such file. Run genreflow in the project "
            "folder, after `dvc repro`."
        )
    return Registry.open(name=model or _default_model())


def _default_model() -> str:
    from genreflow.bundle import MODEL_NAME
    from genreflow.params import PARAMS_FILE, load_params

    if not PARAMS_FILE.exists():  # a registry without a project
        return MODEL_NAME
    params = load_params()
    return params.gate.model_name(params.data.source)


def _row(version: "Version") -> tuple[str, ...]:
    """Return the cells of a version, as `HEAD` names them."""
    from genreflow.registry.track_accuracy import read_track_accuracy

    measured = read_track_accuracy(version.metrics)
    best = max(measured.baselines, key=lambda baseline: baseline.value, default=None) if measured else None
    return (
        version.version,
        str(measured.model) if measured else "-",
        f"{best.value:.1%} ({best.name})" if best else "-",
        version.created.replace("T", " ").removesuffix("+00:00"),
        version.bundle_hash[:12],
        ", ".join((*version.aliases, *(["LEAKING"] if version.leaking else []))) or "-",
    )


def _show(pointer: "Pointer", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(pointer), indent=2))
    else:
        click.echo(f"Version {pointer.champion.version} is the champion; `dvc repro` packages it.")
