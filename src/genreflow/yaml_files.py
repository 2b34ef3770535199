"""YAML files of parameters: read strictly, and change values while comments and layout stay as they are."""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

# A file of parameters is far below these limits. Nodes are counted as often as aliases repeat them.
MAX_CHARACTERS, MAX_DEPTH, MAX_NODES = 1_000_000, 100, 100_000
# Raised by PyYAML for values that it resolves to a type and cannot convert, such as the date 2026-02-30.
_CONVERSION_ERRORS = (ValueError, TypeError, LookupError, AttributeError)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which also refuses duplicate keys, deep nesting and aliases that multiply the content."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:  # in time: PyYAML would recurse until Python stops it
            raise ComposerError(None, None, f"more than {MAX_DEPTH} levels of nesting", self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _CONVERSION_ERRORS as error:
            raise ConstructorError(None, None, str(error), node.start_mark) from None


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML document.

    Parameters
    ----------
    text : str

    Raises
    ------
    ValueError
        It is not one valid YAML document, a mapping has a key twice, or it exceeds the limits of this module. The
        message has the line.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text):,} characters, more than {MAX_CHARACTERS:,}")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(_reason(error)) from None
    except RecursionError:
        raise ValueError("content that is nested too deeply") from None


def replace_values(text: str, section: str, values: Mapping[str, Any]) -> str:
    """Change values in a section of a YAML document; everything else, comments included, stays as it is.

    Parameters
    ----------
    text : str
        A document that `parse_yaml` accepts, which is a mapping of sections.
    section : str
    values : mapping of str to str, None, or an empty list
        New values by key. Those that do not differ are not touched.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        A key is missing and its value is not None or empty, or the value is an alias.
    """
    before = parse_yaml(text)
    changed = {key: value for key, value in values.items() if (before[section].get(key) or None) != (value or None)}
    edits: list[tuple[int, int, str]] = []
    found = {}
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None  # `parse_yaml` found a mapping
    for name, node in root.value:
        if name.value == section:
            found = {key.value: (key, value) for key, value in node.value}
    for key, value in changed.items():
        if key not in found:
            raise ValueError(f"no line for {section}.{key}")
        edits += _edits(text, *found[key], _written(value))
    column = _comment_column(text, [key for key, _ in found.values()])
    for start, end, new in sorted(edits, reverse=True):
        text = _replaced(text, start, end, new, column)
    if parse_yaml(text) != {**before, section: {**before[section], **changed}}:  # an alias elsewhere, for example
        raise ValueError(f"{section} that cannot be changed in place; edit the file")
    return text


def _check(root: yaml.Node) -> None:
    """Check keys and size of a document, whose nodes are shared where aliases repeat them."""
    counts: dict[int, int | None] = {}

    def count(node: yaml.Node) -> int:
        known = counts.setdefault(id(node), 0)
        if known is None:
            raise ComposerError(None, None, "an alias inside of what it stands for", node.start_mark)
        if known:
            return known
        counts[id(node)] = None
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            children = [each for pair in node.value for each in pair]
        counts[id(node)] = total = 1 + sum(map(count, children))
        if total > MAX_NODES:
            raise ComposerError(None, None, f"aliases for more than {MAX_NODES:,} values", node.start_mark)
        return total

    count(root)


def _check_keys(mapping: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode):
            line = key.start_mark.line + 1
            if (first := lines.get((key.tag, key.value))) is not None:
                raise ComposerError(None, None, f"the key {key.value} twice, in lines {first} and {line}", None)
            lines[key.tag, key.value] = line


def _reason(error: yaml.YAMLError) -> str:
    """Return what a PyYAML error reports, with the line."""
    mark = getattr(error, "problem_mark", None)
    text = " ".join(str(getattr(error, "problem", None) or error).split())
    return f"{text} (line {mark.line + 1})" if mark else text


def _edits(text: str, key: yaml.Node, value: yaml.Node, new: str) -> list[tuple[int, int, str]]:
    """Return what to replace, as (start, end, text)."""
    colon = key.end_mark.index + text[key.end_mark.index :].index(":")
    start = value.start_mark.index
    if start <= colon:
        raise ValueError(f"an alias for {key.value}")
    end = start + len(text[start : _end(value)].rstrip())  # a text in lines of its own includes its last line's end
    line_end = _line_end(text, colon)
    if start <= line_end:
        return [(start, end, new if start > colon + 1 else f" {new}")]
    # The value is on the lines below its key: it goes, with the comments between its lines.
    return [(line_end, _line_end(text, end), ""), (colon + 1, colon + 1, f" {new}")]


def _end(node: yaml.Node) -> int:
    """Return where a node ends; PyYAML's end of a block collection is after the comments and empty lines below."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _line_end(text: str, index: int) -> int:
    found = re.compile(r"\r?\n|\Z").search(text, index)
    return found.start() if found else len(text)


def _comment_column(text: str, keys: list[yaml.Node]) -> int | None:
    """Return the column in which comments at the end of lines begin, the leftmost one if they differ."""
    lines = text.splitlines()
    columns = []
    for key in keys:
        if comment := re.search(r"\s#", lines[key.start_mark.line]):
            columns.append(comment.end() - 1)
    return min(columns, default=None)


def _replaced(text: str, start: int, end: int, new: str, column: int | None) -> str:
    """Replace a part of a line, and keep the comment behind it in its column where there is space."""
    comment = re.compile(r"[ \t]+(?=#)").match(text, end)
    if not (new and comment and column):
        return text[:start] + new + text[end:]
    at = start - (text.rfind("\n", 0, start) + 1) + len(new)
    return text[:start] + new + " " * max(2, column - at) + text[comment.end() :]


def _written(value: Any) -> str:
    """Return a string, None or an empty list as YAML 1.1 and 1.2 read it, on one line."""
    if not isinstance(value, str):
        return json.dumps(value)
    if re.fullmatch(r"[A-Za-z_/.][\w./ -]*", value, re.ASCII) and yaml.safe_load(value) == value:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^\x20-\U0010ffff]|[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]", _escaped, quoted)


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"
