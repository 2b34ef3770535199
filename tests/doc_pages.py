"""What the tests of the documentation read from its pages: blocks of code, edits of files, links."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

DOCS = ROOT / "docs"
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^\n]+) -->\n\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Parameters
    ----------
    language : str
    title : str
        The file that the block writes or changes; empty for none.
    text : str
    not_run : str
        Why the tests do not run it; empty if they do.
    """

    language: str
    title: str
    text: str
    not_run: str


def pages() -> list[Path]:
    """README and all pages that people write, without those that are generated."""
    found = [path for path in DOCS.rglob("*.md") if not path.is_relative_to(DOCS / "reference")]
    return [ROOT / "README.md", *sorted(path for path in found if "theme" not in path.parts)]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        skipped = _NOT_RUN.search(text[: fence.start()])
        title = re.search(r'title="([^"]+)"', fence["info"])
        language = fence["info"].split(" ")[0]
        reason = skipped["reason"] if skipped else ""
        found.append(Block(language, title[1] if title else "", fence["text"], reason))
    return found


def commands(page: Path) -> list[str]:
    """The scripts of a page that can be run anywhere, in order."""
    return [block.text for block in blocks(page) if block.language == "bash" and not block.not_run]


def edits(page: Path, read: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield the files that a page writes or changes, with their new text; `read` returns the present one."""
    changed: dict[str, str] = {}
    for block in blocks(page):
        if not block.title:
            continue
        if block.language == "diff":
            before = changed.get(block.title) or read(block.title)
            changed[block.title] = apply(before, block.text)
        else:
            changed[block.title] = block.text
    yield from changed.items()


def apply(text: str, diff: str) -> str:
    """Apply hunks, separated by ``@@``, whose lines begin with a space (context), ``+`` or ``-``."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] or "\n" for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        # Only whole lines count, and the context must not be ambiguous.
        found = re.findall(f"(?=\n{re.escape(before)})", f"\n{text}")
        assert len(found) == 1, f"must occur once; got {len(found)} times:\n{before}"
        text = f"\n{text}".replace(f"\n{before}", f"\n{after}")[1:]
    return text
