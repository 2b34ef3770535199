"""Kinds of faults, and the policy: which exclude a track from training and evaluation, and which only flag it.

A track is left out if a model could learn nothing from it, or something wrong. A fault that may be intended, or is
harmless once known, is flagged for the user to decide.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Parameters
    ----------
    title : str
    leave_out : bool
        Whether tracks with this fault are left out of all parts of a split.
    meaning : str
        Explanation for users, and what they can do.
    """

    title: str
    leave_out: bool
    meaning: str


KINDS: dict[str, Kind] = {
    "undecodable": Kind(
        "Undecodable",
        True,
        "The file cannot be read: it is empty, damaged, in another format (convert it to wav, flac or mp3), not audio "
        "or not a regular file, it is a link that leaves the folder, or its name is not UTF-8.",
    ),
    "unusable": Kind("Unusable", True, "There are no samples, samples that are not finite, or only one level."),
    "too_long": Kind("Too long", True, "The file is longer than the limit."),
    "no_features": Kind("No features", True, "The file decodes, but no spectrogram could be computed from it."),
    "silent": Kind("Silent", True, "The peak is below audit.silence_db."),
    "constant_offset": Kind(
        "Constant offset", True, "All samples have the same value, or nearly: an offset without sound."
    ),
    "too_short": Kind("Too short", True, "The track is shorter than audit.min_seconds."),
    "known_recording": Kind(
        "Correction of a known recording",
        True,
        "A listener corrected the answer for a recording that the data have already, with a genre of their own: the "
        "correction is left out. Give the track another genre in data/tracks.csv if the listener is right.",
    ),
    "conflicting_labels": Kind(
        "Conflicting labels",
        True,
        "The same recording has several genres. The audio does not tell which one is correct, so all copies are left "
        "out; give them one genre to use them.",
    ),
    "duplicate": Kind(
        "Exact duplicate", True, "The same samples, or the same spectrogram, as another track of the genre."
    ),
    "near_duplicate": Kind(
        "Near-duplicate",
        False,
        "The same recording at another level, offset, speed or codec. Both tracks are used, but only in the same part "
        "of a split.",
    ),
    "opposite_phase": Kind(
        "Opposite phase",
        False,
        "The channels cancel each other, as of a cable with swapped wires. Their mean would be rounding noise: the "
        "loudest channel is used instead, in training and by the service.",
    ),
    "truncated": Kind(
        "Truncated",
        False,
        "The header declares more audio than the file holds, as after an interrupted download. The audio that is there "
        "is used. Only headers with an exact length can tell: those of wav, aiff, flac, mp4, and mp3 with a Xing tag.",
    ),
    "damaged": Kind(
        "Damaged", False, "More than 1 % of the file cannot be decoded. The audio that is left is used, without pauses."
    ),
    "declared_length": Kind(
        "Wrong declared length", False, "The file holds more audio than the header declares. The declared part is used."
    ),
    "declared_rate": Kind(
        "Wrong sample rate",
        False,
        "The header contradicts itself on the sample rate, or declares one that is too low for music: pitch and tempo "
        "may be wrong.",
    ),
    "clipped": Kind(
        "Clipped",
        False,
        "More than audit.clipped_share of the samples are flat at full scale, three or more in a row: the recording or "
        "the master is too loud.",
    ),
    "dominant": Kind(
        "Dominates its genre",
        False,
        "More than audit.track_share of the genre's audio is this track, which is much longer than the others. An "
        "epoch has few of its segments (segments.track_cap), but the genre has little other music.",
    ),
    "artist_in_genres": Kind(
        "Artist in several genres",
        False,
        "Often correct; all tracks of the artist are then in the same part of a split.",
    ),
}
"""In the order in which they are reported: those that leave tracks out come first."""
