"""The champion pointer: a small file in git that names the registered version that is served."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from genreflow.errors import GenreflowError
from genreflow.files import read_json, write_json

# Content of the file while no version qualifies as champion: the stage `package`, which depends on it, then runs and
# packages nothing.
NO_CHAMPION = {"version": None}


@dataclass(frozen=True, kw_only=True)
class Champion:
    """A champion, current or former.

    Parameters
    ----------
    version : str
        Of the registered model.
    bundle_hash : str
        `genreflow.bundle.Bundle.hash`: identifies the bundle in any registry.
    reason : str
        Why it was promoted.
    """

    version: str
    bundle_hash: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """The current champion and its predecessors.

    It holds no times: rolling back to a champion restores the file byte by byte, so that DVC takes the package of that
    champion from its cache.

    Parameters
    ----------
    name : str
        Of the registered model.
    champion : Champion
    previous : tuple of Champion
        In chronological order.
    others : tuple of Pointer
        Champions of other registered models, which are not served; without `others` of their own.
    """

    name: str
    champion: Champion
    previous: tuple[Champion, ...] = ()
    others: tuple["Pointer", ...] = ()

    def of_model(self, name: str) -> "Pointer | None":
        """Return the pointer by which a registered model is served; None if it has no champion."""
        served = next((pointer for pointer in (self, *self.others) if pointer.name == name), None)
        return served and served.beside(self)

    def beside(self, former: "Pointer") -> "Pointer":
        """Return this pointer with those of all other registered models of a former one as `others`."""
        others = [replace(model, others=()) for model in (former, *former.others) if model.name != self.name]
        return replace(self, others=tuple(sorted(others, key=lambda model: model.name)))

    def advance(self, champion: Champion) -> "Pointer":
        """Return a pointer to a new champion, with the current one as its predecessor."""
        return replace(self, champion=champion, previous=(*self.previous, self.champion))

    def roll_back(self) -> "Pointer":
        """Return a pointer to the previous champion.

        Raises
        ------
        GenreflowError
            There is none.
        """
        if not self.previous:
            raise GenreflowError(
                f"{self.name}: a rollback needs a previous champion; version {self.champion.version} is the first one."
            )
        return replace(self, champion=self.previous[-1], previous=self.previous[:-1])


def read_pointer(path: Path | str) -> Pointer | None:
    """Read a pointer; None if the file does not exist or names no champion.

    Raises
    ------
    GenreflowError
        The file is not a champion pointer.
    """
    path = Path(path)
    try:
        content = read_json(path)
        if content == NO_CHAMPION:
            return None
        others = tuple(_parse(entry) for entry in content.pop("others", ()))
        return replace(_parse(content), others=others)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GenreflowError(
            f"{path} must be a champion pointer ({error}); `git checkout {path}` restores the last one."
        ) from error


def write_pointer(pointer: Pointer | None, path: Path | str) -> None:
    """Write `pointer` to `path` atomically; None means that there is no champion."""
    if pointer is None:
        write_json(Path(path), NO_CHAMPION)
        return
    others = [_content(other) for other in pointer.others]
    write_json(Path(path), _content(pointer) | ({"others": others} if others else {}))


def _parse(content: dict) -> Pointer:
    previous = tuple(Champion(**entry) for entry in content.pop("previous"))
    return Pointer(name=content.pop("name"), champion=Champion(**content), previous=previous)


def _content(pointer: Pointer) -> dict:
    previous = [asdict(champion) for champion in pointer.previous]
    return {"name": pointer.name, **asdict(pointer.champion), "previous": previous}
