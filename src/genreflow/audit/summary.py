"""An audit as text, for the terminal."""

from collections import defaultdict

from genreflow.audit.faults import Audit
from genreflow.audit.kinds import KINDS

_SHOWN = 10  # faults of a kind


def as_table(audit: Audit, *, shown: int = _SHOWN, more: str) -> str:
    """Write out an audit: the faults by kind, what becomes of the tracks, and the genres with their numbers.

    Parameters
    ----------
    audit : Audit
    shown : int > 0
        Faults of a kind that are listed; of others the number is told.
    more : str
        Where the others are, as in "--json shows all".
    """
    messages = defaultdict(list)
    for fault in audit.faults:
        messages[fault.code].append(fault.message)
    width = max((len(KINDS[code].title) for code in messages), default=0)
    lines = []
    for leave_out, heading in ((True, "Left out"), (False, "Noticed")):
        codes = [code for code, kind in KINDS.items() if code in messages and kind.leave_out is leave_out]
        lines += [heading] if codes else []
        for code in codes:
            count, those = (
                len(messages[code]),
                list(dict.fromkeys(messages[code])),
            )  # tracks of one recording share a sentence
            rest = [f"… and {len(those) - shown} more; {more}"] if len(those) > shown else []
            first, *others = [*those[:shown], *rest]
            lines.append(f"  {KINDS[code].title:<{width}}  {count:>5}  {first}")
            lines += [f"  {'':<{width}}  {'':>5}  {message}" for message in others]
        lines += [""] if codes else []
    return "\n".join([*lines, *_numbers(audit)])


def _numbers(audit: Audit) -> list[str]:
    width = max(len("genre"), *map(len, audit.genres))
    lines = [f"{'genre':<{width}}  tracks  usable"]
    lines += [f"{genre:<{width}}  {of['tracks']:>6}  {of['usable']:>6}" for genre, of in audit.genres.items()]
    lines.append(f"{'all':<{width}}  {audit.tracks:>6}  {audit.usable:>6}")
    out = audit.tracks - audit.usable
    faults = f"{out} left out, {audit.noticed} noticed" if audit.faults else "no faults"
    unseen = "" if audit.compared else "; near-duplicates were not looked for"
    return [*lines, "", f"{audit.tracks} tracks, {audit.usable} usable: {faults}{unseen}"]
