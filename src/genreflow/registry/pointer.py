"""The champion pointer: a small file in git that says which version of the registry is served."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from genreflow.errors import GenreflowError
from genreflow.files import read_json, write_json

# What the file holds as long as no version may be champion: `package`, which depends on it, then has nothing to do.
NO_CHAMPION = {"version": None}


@dataclass(frozen=True, kw_only=True)
class Champion:
    """One champion, present or past.

    Parameters
    ----------
    version : str
        In the registry.
    bundle_hash : str
        What `Bundle.hash` gives: it says whether that version is still the one that was meant.
    reason : str
        Why it was promoted.
    """

    version: str
    bundle_hash: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """The present champion and those before it.

    It holds nothing but the champions themselves, no times: going back to a champion gives the very file of that
    day, so that DVC takes its package from the cache.

    Parameters
    ----------
    name : str
        Of the registered model.
    champion : Champion
    previous : tuple of Champion
        The oldest first.
    """

    name: str
    champion: Champion
    previous: tuple[Champion, ...] = ()

    def advance(self, champion: Champion) -> "Pointer":
        """With a new champion, which comes after the present one."""
        return replace(self, champion=champion, previous=(*self.previous, self.champion))

    def go_back(self) -> "Pointer":
        """With the champion before the present one.

        Raises
        ------
        GenreflowError
            There is none.
        """
        if not self.previous:
            raise GenreflowError(
                f"Version {self.champion.version} of {self.name} is the first champion; there is none to go back to."
            )
        return replace(self, champion=self.previous[-1], previous=self.previous[:-1])


def read_pointer(path: Path | str) -> Pointer | None:
    """The pointer in `path`; None where there is no such file yet, or it says that there is no champion.

    Raises
    ------
    GenreflowError
        The file is no champion pointer.
    """
    path = Path(path)
    try:
        content = read_json(path)
        if content == NO_CHAMPION:
            return None
        previous = tuple(Champion(**entry) for entry in content.pop("previous"))
        return Pointer(name=content.pop("name"), champion=Champion(**content), previous=previous)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GenreflowError(
            f"{path} is no champion pointer ({error}); `git checkout {path}` brings the last one back."
        ) from error


def write_pointer(pointer: Pointer | None, path: Path | str) -> None:
    """Write `pointer` to `path`, whole or not at all; None says that there is no champion."""
    if pointer is None:
        write_json(Path(path), NO_CHAMPION)
        return
    previous = [asdict(champion) for champion in pointer.previous]
    write_json(Path(path), {"name": pointer.name, **asdict(pointer.champion), "previous": previous})
