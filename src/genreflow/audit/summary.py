"""An audit as text for the terminal."""

from collections import defaultdict

from genreflow.audit.faults import Audit
from genreflow.audit.kinds import KINDS
from genreflow.errors import counted
from genreflow.file_names import one_line

_SHOWN = 10
_LARGEST = "largest track, share of audio"


def format_audit(audit: Audit, *, shown: int = _SHOWN, more: str) -> str:
    """Format an audit: faults by kind, then tracks and usable tracks by genre.

    Parameters
    ----------
    audit : Audit
    shown : int > 0
        Number of faults of each kind that are listed; the others are counted.
    more : str
        Where the others are found, as in "--json shows all".
    """
    messages = defaultdict(list)
    for fault in audit.faults:
        messages[fault.code].append(fault.message)
    width = max((len(KINDS[code].title) for code in messages), default=0)
    lines: list[str] = []
    for leave_out, heading in ((True, "Left out"), (False, "Flagged")):
        codes = [code for code, kind in KINDS.items() if code in messages and kind.leave_out is leave_out]
        if not codes:
            continue
        lines.append(heading)
        for code in codes:
            distinct = list(dict.fromkeys(messages[code]))  # tracks of one recording share a message
            rest = [f"… and {len(distinct) - shown} more; {more}"] if len(distinct) > shown else []
            first, *others = [*distinct[:shown], *rest]
            lines.append(f"  {KINDS[code].title:<{width}}  {len(messages[code]):>5}  {one_line(first)}")
            lines += [f"  {'':<{width}}  {'':>5}  {one_line(message)}" for message in others]
        lines.append("")
    return "\n".join([*lines, *_genre_table(audit), *(f"note: {one_line(note)}" for note in audit.notes)])


def _genre_table(audit: Audit) -> list[str]:
    genres = {one_line(genre): counts for genre, counts in audit.genres.items()}
    width = max(len("genre"), *map(len, genres))
    largest = {one_line(genre): track for genre, track in audit.largest_tracks.items()}
    lines = [f"{'genre':<{width}}  tracks  usable" + (f"  {_LARGEST}" if largest else "")]
    for genre, counts in genres.items():
        share = f"  {largest[genre].share:>{len(_LARGEST)}.0%}" if genre in largest else ""
        lines.append(f"{genre:<{width}}  {counts['tracks']:>6}  {counts['usable']:>6}{share}")
    lines.append(f"{'all':<{width}}  {audit.tracks:>6}  {audit.usable:>6}")
    left_out = audit.tracks - audit.usable
    faults = f"{left_out} left out, {audit.flagged} flagged" if audit.faults else "no faults"
    skipped = "" if audit.compared else "; near-duplicates were not searched for"
    return [*lines, "", f"{counted(audit.tracks, 'track')}, {audit.usable} usable: {faults}{skipped}"]
