"""The table of a reproduction, for people (Markdown) and for programs (CSV)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from genreflow.files import write_csv, write_text
from genreflow.manifest.track import PARTS
from genreflow.models import MODELS
from genreflow.reproduction.tasks import Material

COLUMNS = (
    "system",
    "parameters",
    "reported",
    "leaking_own_segment_accuracy",
    "own_segment_accuracy",
    "honest_segment_accuracy",
    "honest_track_accuracy",
    "honest_track_accuracy_low",
    "honest_track_accuracy_high",
    "seconds_an_epoch",
    "own_epochs_done",
    "honest_epochs_done",
    "epochs_wanted",
    "own_status",
    "honest_status",
)
HEAD = (
    "system",
    "parameters",
    "reported",
    "own protocol, segments (leaking)",
    "honest, segments",
    "honest, tracks (95 %)",
    "s an epoch",
    "epochs done, own / honest",
)
NOTES = (
    "*parameters*: of the body, trainable and not, with as many classes as its own protocol has genres.",
    "*reported*: what its authors published, on their data and protocol.",
    "*own protocol, segments (leaking)*: share of segments right when segments (or tracks: {by_track}) are dealt to "
    "the parts at random, as its authors did. Segments of one track, or tracks of one artist, stand on both sides, so "
    "the figure flatters. Of segments it is the best epoch's on the validation part; of tracks, the test part's.",
    "*honest*: on tracks of artists of which nothing was heard in training. Of published systems the epoch is chosen "
    "on validation, of our own it is the last one; {part} looked at once. The answer for a track is the mean of the "
    "probabilities over its segments; the interval is {interval}.",
    "*s an epoch*: once through the training segments of the honest protocol and a validation, on the machine at hand.",
    "*epochs done*: of the two fits, in passes through all training segments; as many as published, unless time was "
    "limited.",
)


def write_tables(folder: Path, records: Sequence[dict], material: Material) -> None:
    """Write ``table.md`` and ``table.csv``.

    Parameters
    ----------
    folder : Path
    records : sequence of dict
        Of `fits.run_task`, and failed ones; all of the same data.
    material : Material
    """
    rows = _rows(records)
    write_csv(folder / "table.csv", COLUMNS, rows)
    lines = [_line(HEAD), _line("---" if name in HEAD[:1] + HEAD[2:3] else "---:" for name in HEAD)]
    lines += [_line(_cells(row)) for row in rows]
    write_text(folder / "table.md", "\n".join([*lines, "", *_below(records, material), ""]))


def _rows(records: Sequence[dict]) -> list[dict]:
    by_system: dict[str, dict[str, dict]] = {}
    for record in records:
        by_system.setdefault(record["system"], {})[record["protocol"]] = record
    rows = []
    for system in (name for name in MODELS if name in by_system):
        own, honest = (by_system[system].get(kind, {}) for kind in ("own", "honest"))
        mark = "leaking_" if own.get("leaking", True) else ""
        row = {
            "system": system,
            "parameters": own.get("parameters", honest.get("parameters")),
            "reported": (own or honest)["reported"],
            f"{mark}own_segment_accuracy": own.get("segment_accuracy"),
            **{f"honest_{name}": honest.get(name) for name in ("segment_accuracy", "track_accuracy")},
            **{f"honest_track_accuracy_{end}": honest.get(f"track_accuracy_{end}") for end in ("low", "high")},
            "seconds_an_epoch": honest.get("seconds_an_epoch"),
            "own_epochs_done": own.get("epochs_done"),
            "honest_epochs_done": honest.get("epochs_done"),
            "epochs_wanted": own.get("epochs_wanted", honest.get("epochs_wanted")),
            "own_status": own.get("status"),
            "honest_status": honest.get("status"),
        }
        rows.append({name: value for name, value in row.items() if value is not None})
    return rows


def _cells(row: dict) -> list[str]:
    def share(name: str) -> str:
        return f"{100 * row[name]:.1f}" if name in row else "-"

    def by(kind: str, text: str) -> str:
        return "failed" if row.get(f"{kind}_status") == "failed" else text

    own = share("leaking_own_segment_accuracy")
    if "own_segment_accuracy" in row:
        own = f"{share('own_segment_accuracy')} (does not leak here)"
    tracks = share("honest_track_accuracy")
    if "honest_track_accuracy_low" in row:
        tracks += f" ({share('honest_track_accuracy_low')} to {share('honest_track_accuracy_high')})"
    done = [f"{row[name]:.3g}" if name in row else "-" for name in ("own_epochs_done", "honest_epochs_done")]
    return [
        f"`{row['system']}`",
        f"{row['parameters']:,}" if "parameters" in row else "-",
        row.get("reported") or "-",
        by("own", own),
        by("honest", share("honest_segment_accuracy")),
        by("honest", tracks),
        f"{row['seconds_an_epoch']:.3g}" if "seconds_an_epoch" in row else "-",
        f"{' / '.join(done)} of {row['epochs_wanted']}" if "epochs_wanted" in row else "-",
    ]


def _line(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _below(records: Sequence[dict], material: Material) -> list[str]:
    manifest, split = material.manifest, material.split
    n_genres = len(manifest.genres)
    parts = ", ".join(f"{len(split.parts[part])} tracks {part}" for part in PARTS)
    artists = f"{len(set(split.groups.values()))} artists" if manifest.groups_known else "artists unknown"
    finished = [record for record in records if record["status"] == "finished"]
    notes = {
        "by_track": ", ".join(f"`{name}`" for name, row in MODELS.items() if row.protocol.by == "track"),
        "part": "the test part"
        if split.evaluation_part == "test"
        else "as there is no test part, validation itself is",
        "interval": "a bootstrap over artists" if manifest.groups_known else "Wilson's, over tracks",
    }
    lines = [
        f"Data: {sum(map(len, split.parts.values()))} tracks, {artists}, {n_genres} genres "
        f"({', '.join(manifest.genres)}); split by {split.method}: {parts}.",
        *_subsets(finished, n_genres),
        *split.notes,
        "",
        *(f"- {note.format(**notes)}" for note in NOTES),
        *(
            f"- `{record['system']}`, {record['protocol']}: failed, {record['reason']}"
            for record in records
            if record["status"] == "failed"
        ),
        "",
        _made(finished),
    ]
    return lines


def _subsets(records: Sequence[dict], n_genres: int) -> list[str]:
    """Which genres the protocols with fewer of them have."""
    named: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        if record["protocol"] == "own" and len(record["genres"]) < n_genres:
            named.setdefault(tuple(record["genres"]), []).append(record["system"])
    return [
        f"Own protocol with {len(genres)} genres ({', '.join(genres)}): {', '.join(f'`{name}`' for name in systems)}."
        for genres, systems in named.items()
    ]


def _made(records: Sequence[dict]) -> str:
    versions = sorted({f"{name} {number}" for record in records for name, number in record["versions"].items()})
    dates = sorted(record["date"][:10] for record in records) or [datetime.now(UTC).date().isoformat()]
    span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return f"Made by `genreflow reproduce`, {span}{''.join(f', {name}' for name in versions)}."
