"""The table of results, as Markdown and CSV."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genreflow.files import write_csv, write_text
from genreflow.manifest.track import PARTS
from genreflow.models import MODELS
from genreflow.reproduction.tasks import ProjectData

COLUMNS = (
    "system",
    "parameters",
    "reported",
    "leaking_own_segment_accuracy",
    "own_segment_accuracy",
    "group_disjoint_segment_accuracy",
    "group_disjoint_track_accuracy",
    "group_disjoint_track_accuracy_low",
    "group_disjoint_track_accuracy_high",
    "seconds_per_epoch",
    "own_epochs_done",
    "group_disjoint_epochs_done",
    "epochs_published",
    "own_status",
    "group_disjoint_status",
)
HEADER = (
    "system",
    "parameters",
    "reported",
    "own protocol, segments (leaking)",
    "group-disjoint, segments",
    "group-disjoint, tracks (95 %)",
    "s per epoch",
    "epochs done, own / group-disjoint",
)
LEFT_ALIGNED = ("system", "reported")
NOTES = (
    "*parameters*: of the body, trainable or not, for the number of genres of its own protocol.",
    "*reported*: accuracy that its authors published, on their data and protocol.",
    "*own protocol, segments (leaking)*: segment accuracy [%] where segments (tracks: {split_by_track}) are split at "
    "random, as by its authors. Segments of one track, or tracks of one artist, are then in both the training and the "
    "evaluation part, and the accuracy is optimistically biased. Of segments it is that of the best epoch on the "
    "validation part; of tracks, that on the test part.",
    "*group-disjoint*: accuracy [%] on a split in which no artist of the evaluation part is in the training part. The "
    "weights of published systems are those of the best epoch on validation, those of our own are of the last epoch; "
    "{part} is evaluated once. The prediction for a track is the mean of the probabilities of its segments; the "
    "interval is {interval}.",
    "*s per epoch*: one pass over the training segments of the group-disjoint split and one validation, on this "
    "machine.",
    "*epochs done*: passes over all training segments in the two fits; as many as published, unless time was limited.",
)


def write_tables(folder: Path, records: Sequence[Mapping[str, Any]], data: ProjectData) -> None:
    """Write ``table.md`` and ``table.csv``.

    Parameters
    ----------
    folder : Path
    records : sequence of mapping
        See `genreflow.reproduction.fit_record.make_record`, and failed ones; all of the same data.
    data : ProjectData
    """
    rows = _rows(records)
    write_csv(folder / "table.csv", COLUMNS, rows)
    lines = [
        _table_line(HEADER),
        _table_line("---" if name in LEFT_ALIGNED else "---:" for name in HEADER),
        *(_table_line(_cells(row)) for row in rows),
        "",
        *_footer(records, data),
        "",
    ]
    write_text(folder / "table.md", "\n".join(lines))


def _rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    by_system: dict[str, dict[str, Mapping[str, Any]]] = {}
    for record in records:
        by_system.setdefault(record["system"], {})[record["protocol"]] = record
    rows = []
    for system in (name for name in MODELS if name in by_system):
        own, disjoint = (by_system[system].get(kind, {}) for kind in ("own", "group_disjoint"))
        prefix = "leaking_" if own.get("leaking", True) else ""
        row = {
            "system": system,
            "parameters": own.get("parameters", disjoint.get("parameters")),
            "reported": (own or disjoint)["reported"],
            f"{prefix}own_segment_accuracy": own.get("segment_accuracy"),
            **{f"group_disjoint_{name}": disjoint.get(name) for name in ("segment_accuracy", "track_accuracy")},
            **{
                f"group_disjoint_track_accuracy_{end}": disjoint.get(f"track_accuracy_{end}") for end in ("low", "high")
            },
            "seconds_per_epoch": disjoint.get("seconds_per_epoch"),
            "own_epochs_done": own.get("epochs_done"),
            "group_disjoint_epochs_done": disjoint.get("epochs_done"),
            "epochs_published": own.get("epochs_published", disjoint.get("epochs_published")),
            "own_status": own.get("status"),
            "group_disjoint_status": disjoint.get("status"),
        }
        rows.append({name: value for name, value in row.items() if value is not None})
    return rows


def _cells(row: Mapping[str, Any]) -> list[str]:
    def percent(name: str) -> str:
        return f"{100 * row[name]:.1f}" if name in row else "-"

    def unless_failed(kind: str, text: str) -> str:
        return "failed" if row.get(f"{kind}_status") == "failed" else text

    own = percent("leaking_own_segment_accuracy")
    if "own_segment_accuracy" in row:
        own = f"{percent('own_segment_accuracy')} (does not leak here)"
    tracks = percent("group_disjoint_track_accuracy")
    if "group_disjoint_track_accuracy_low" in row:
        tracks += (
            f" ({percent('group_disjoint_track_accuracy_low')} to {percent('group_disjoint_track_accuracy_high')})"
        )
    done = [f"{row[name]:.3g}" if name in row else "-" for name in ("own_epochs_done", "group_disjoint_epochs_done")]
    return [
        f"`{row['system']}`",
        f"{row['parameters']:,}" if "parameters" in row else "-",
        row.get("reported") or "-",
        unless_failed("own", own),
        unless_failed("group_disjoint", percent("group_disjoint_segment_accuracy")),
        unless_failed("group_disjoint", tracks),
        f"{row['seconds_per_epoch']:.3g}" if "seconds_per_epoch" in row else "-",
        f"{' / '.join(done)} of {row['epochs_published']}" if "epochs_published" in row else "-",
    ]


def _table_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _footer(records: Sequence[Mapping[str, Any]], data: ProjectData) -> list[str]:
    """The lines below the table: data, notes on the columns, failures, versions."""
    manifest, split = data.manifest, data.split
    n_genres = len(manifest.genres)
    parts = ", ".join(f"{len(split.parts[part])} {part}" for part in PARTS)
    artists = f"{len(set(split.groups.values()))} artists" if manifest.groups_known else "artists unknown"
    finished = [record for record in records if record["status"] == "finished"]
    values = {
        "split_by_track": ", ".join(f"`{name}`" for name, row in MODELS.items() if row.protocol.by == "track"),
        "part": "the test part" if split.evaluation_part == "test" else "validation, as there is no test part,",
        "interval": "a bootstrap over artists" if manifest.groups_known else "Wilson's, over tracks",
    }
    return [
        f"Data: {sum(map(len, split.parts.values()))} tracks, {artists}, {n_genres} genres "
        f"({', '.join(manifest.genres)}); split by {split.method}: {parts} tracks.",
        *_genre_subsets(finished, n_genres),
        *split.notes,
        "",
        *(f"- {note.format(**values)}" for note in NOTES),
        *(
            f"- `{record['system']}`, {record['protocol']}: failed, {record['reason']}"
            for record in records
            if record["status"] == "failed"
        ),
        "",
        _provenance(finished),
    ]


def _genre_subsets(records: Sequence[Mapping[str, Any]], n_genres: int) -> list[str]:
    """Lines that list the genres of protocols with fewer genres than the data."""
    systems_of: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        if record["protocol"] == "own" and len(record["genres"]) < n_genres:
            systems_of.setdefault(tuple(record["genres"]), []).append(record["system"])
    return [
        f"Own protocol with {len(genres)} genres ({', '.join(genres)}): {', '.join(f'`{name}`' for name in systems)}."
        for genres, systems in systems_of.items()
    ]


def _provenance(records: Sequence[Mapping[str, Any]]) -> str:
    """A line with date and versions of the fits."""
    versions = sorted({f"{name} {number}" for record in records for name, number in record["versions"].items()})
    dates = sorted(record["date"][:10] for record in records) or [datetime.now(UTC).date().isoformat()]
    span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return f"Made by `genreflow reproduce`, {span}{''.join(f', {name}' for name in versions)}."
