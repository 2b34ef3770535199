"""The report on label errors, as written to label_errors.json and label_errors.csv."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from genreflow.errors import counted
from genreflow.file_names import one_line
from genreflow.files import write_csv, write_json


@dataclass(frozen=True)
class LabelError:
    """A track whose label is probably wrong.

    Parameters
    ----------
    track : str
        ID.
    label : str
        Genre that it has.
    suggested : str
        Genre that it probably has.
    probability, label_probability : float in [0, 1]
        Of the suggested genre and of the label, by a classifier that was fitted on other artists.
    relative_label_probability : float >= 0
        Relative to the mean over all tracks with this label.
    """

    track: str
    label: str
    suggested: str
    probability: float
    label_probability: float
    relative_label_probability: float


@dataclass(frozen=True)
class JudgedGenre:
    """Tracks and artists of a genre, and how many of the tracks could be judged."""

    tracks: int
    artists: int
    judged: int


@dataclass(frozen=True)
class LabelReport:
    """Label errors of a collection.

    Parameters
    ----------
    features : str
        What the classifier takes.
    accuracy : float in [0, 1] or None
        Share of the judged tracks whose most probable genre is their label; None if there are none.
    genres : dict of str to JudgedGenre
    label_errors : tuple of LabelError
        The one with the lowest `relative_label_probability` first.
    notes : tuple of str
        Messages for users: what could not be judged, and why.
    """

    features: str
    accuracy: float | None
    genres: dict[str, JudgedGenre]
    label_errors: tuple[LabelError, ...]
    notes: tuple[str, ...] = ()

    @property
    def tracks(self) -> int:
        """Number of usable tracks."""
        return sum(genre.tracks for genre in self.genres.values())

    @property
    def judged(self) -> int:
        """Number of tracks that could be judged."""
        return sum(genre.judged for genre in self.genres.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {"tracks": self.tracks, "judged": self.judged} | asdict(self)

    def save(self, path: Path, table: Path) -> None:
        """Write the report as JSON, and the label errors as CSV too."""
        write_json(path, self.to_dict())
        write_csv(table, [field.name for field in fields(LabelError)], [asdict(row) for row in self.label_errors])


def format_label_report(report: LabelReport, *, shown: int = 10, more: str) -> str:
    """Format a report for the terminal.

    Parameters
    ----------
    report : LabelReport
    shown : int > 0
        Number of label errors that are listed.
    more : str
        Where the others are found, as in "--json shows all".
    """
    found = report.label_errors
    lines = [f"{counted(len(found), 'possible label error')} in {report.judged} judged of {report.tracks} tracks"]
    if report.accuracy is not None:
        lines[0] += f"; out-of-fold accuracy {report.accuracy:.0%} on {report.features}"
    lines += [
        f"  {one_line(row.track)}: {one_line(row.label)}, rather {one_line(row.suggested)} ({row.probability:.2f})"
        for row in found[:shown]
    ]
    if len(found) > shown:
        lines.append(f"  … and {len(found) - shown} more; {more}")
    return "\n".join([*lines, *(f"note: {one_line(note)}" for note in report.notes)])
