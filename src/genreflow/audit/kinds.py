"""The kinds of faults, and the policy: which cost a track its place, and which are only noticed.

A track is left out where nothing can be learnt from it, or nothing true. What may be meant, or does no harm once it is
known, is noticed: it is for people to decide.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Parameters
    ----------
    title : str
    leave_out : bool
        Whether such a track takes part in nothing further.
    meaning : str
        For people: what it is, and what can be done.
    """

    title: str
    leave_out: bool
    meaning: str


KINDS: dict[str, Kind] = {
    "undecodable": Kind("Undecodable", True, "No decoder reads the file: it is empty, damaged, or no audio at all."),
    "unusable": Kind("Unusable", True, "There are no samples, samples that are no finite sound, or one level only."),
    "too_long": Kind("Too long", True, "The file is longer than what is accepted."),
    "no_features": Kind("Without features", True, "The file decodes, but no spectrogram could be computed from it."),
    "silent": Kind("Silent", True, "The loudest sample lies below audit.silence_db: there is nothing to hear."),
    "too_short": Kind("Too short", True, "Shorter than audit.min_seconds."),
    "conflicting_labels": Kind(
        "Conflicting labels",
        True,
        "One recording stands under several genres. Which is right cannot be told from the sound, so that none of "
        "them is used; give it one genre, and it is.",
    ),
    "duplicate": Kind("Exact duplicate", True, "The very same samples, or spectrogram, as another track of the genre."),
    "near_duplicate": Kind(
        "Near-duplicate",
        False,
        "The same recording at another level, offset, speed or codec. Both are used, but a split keeps them on one "
        "side.",
    ),
    "truncated": Kind(
        "Truncated",
        False,
        "The header promises more than the file holds, as after a broken download. What is there is used.",
    ),
    "declared_length": Kind(
        "Declared length wrong", False, "The file holds more than its header says. What the header says is used."
    ),
    "declared_rate": Kind(
        "Declared rate wrong",
        False,
        "The header contradicts itself on the sample rate, or names one at which no music is kept: pitch and tempo may "
        "be wrong.",
    ),
    "clipped": Kind(
        "Clipped",
        False,
        "More than audit.clipped_share of the samples are flat at full scale, three or more in a row: recorded or "
        "mastered too loud.",
    ),
    "artist_in_genres": Kind(
        "Artist in several genres",
        False,
        "Often meant; but such an artist is on one side of a split with all of their genres.",
    ),
}
"""In the order in which they are reported: what is left out comes first."""
