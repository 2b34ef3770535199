"""The pages of the documentation: commands and links are those that exist, pictures are small, the README is short."""

import re
import shlex

import click
import pytest

from conftest import ROOT
from doc_pages import DOCS, apply, blocks, pages
from genreflow.cli import cli

NAMES = [str(page.relative_to(ROOT)) for page in pages()]
HOW_TO_ADD = sorted((DOCS / "how-to").glob("add-*.md"))


def anchors(text: str) -> set[str]:
    """The anchors of the headings of a page."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings(name):
    page = ROOT / name
    broken = []
    for target in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if file.is_relative_to(DOCS / "reference"):  # generated; `mkdocs build --strict` checks these
            continue
        if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            broken.append(target)
    assert broken == []


def mentioned_commands(text: str) -> list[str]:
    """Commands in blocks and code spans that begin with ``genreflow`` or ``make``, up to an operator of the shell."""
    code = re.findall(r"`([^`\n]+)`", text)
    code += re.findall(r"^ {4}(.+)$", text, re.MULTILINE)
    fenced = re.findall(r"^```(?:bash|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    code += [line for block in fenced for line in block.splitlines()]
    parts = [part for each in code for part in re.split(r"&&|\|\||[|;>#]", each)]
    return [part.strip() for part in parts if re.match(r"\s*(genreflow|make)( [\w./~-]|$)", part)]


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_options_exist(name):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    unknown = []
    for text in mentioned_commands((ROOT / name).read_text("utf-8")):
        words = shlex.split(text.replace("'", "").replace('"', ""))
        if words[0] == "make":
            unknown += [text] if len(words) > 1 and words[1].isalpha() and words[1] not in targets else []
            continue
        command: click.Command = cli
        for word in words[1:]:
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]
            elif isinstance(command, click.Group) and not word.startswith("-"):
                unknown.append(text)
            options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            if word.startswith("-") and word not in {*options, "-h", "--help", "--version"}:
                unknown.append(text)
    assert unknown == []


def test_the_checks_of_commands_see_unknown_ones():
    assert mentioned_commands("a `genreflow use demo && dvc repro`\n    make run # x\n") == [
        "genreflow use demo",
        "make run",
    ]


@pytest.mark.parametrize("page", HOW_TO_ADD, ids=lambda page: page.stem)
def test_an_extension_takes_less_than_30_lines(page):
    added = 0
    for block in blocks(page):
        if block.title:
            lines = [line for line in block.text.splitlines() if line.strip(" +")]
            added += sum(line.startswith("+") for line in lines) if block.language == "diff" else len(lines)
    assert 0 < added < 30


def test_an_edit_needs_a_place_that_occurs_once():
    assert apply("a\nb\nc\n", " a\n+x\n@@\n-c\n+d\n") == "a\nx\nb\nd\n"
    with pytest.raises(AssertionError):
        apply("a\na\n", " a\n+x\n")


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}
    assert len(sizes) > 4
    assert {name: size for name, size in sizes.items() if size > 150_000} == {}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120
