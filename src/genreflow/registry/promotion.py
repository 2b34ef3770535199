"""Promotion by hand: who made a version the champion, when and why, and against which decision of the gate."""

import getpass
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A promotion by hand.

    Parameters
    ----------
    who : str
        Login name.
    when : str
        ISO 8601, UTC.
    why : str
        Empty if no reason was given.
    refused_by : str or None
        Rule by which the gate had refused the version; None if it had not.
    """

    who: str
    when: str
    why: str
    refused_by: str | None

    @classmethod
    def now(cls, why: str, refused_by: str | None) -> "Promotion":
        """Return a promotion by the present user."""
        try:
            who = getpass.getuser()
        except (OSError, KeyError):  # a container may run as a user without a name
            who = "unknown"
        when = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(who=who, when=when, why=why, refused_by=refused_by)

    @property
    def sentence(self) -> str:
        against = f" against the gate's rule {self.refused_by}" if self.refused_by else ""
        return f"Promoted by hand by {self.who} at {self.when}{against}{f': {self.why}' if self.why else ''}."

    def to_tag(self) -> str:
        """Return it as JSON, for a tag in MLflow."""
        return json.dumps(asdict(self), sort_keys=True)
