"""File names as text that can be encoded, and texts that a terminal shows on one line."""

import re

# Lone surrogates: by them Python represents the bytes of a file name that are not UTF-8 (PEP 383).
_SURROGATE = re.compile("[\ud800-\udfff]")
# Control characters, line separators, and characters that change the direction of the text after them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def utf8_name(name: str) -> str:
    r"""Return a file name as text that can be encoded: its bytes that are not UTF-8 become ``\xNN``."""

    def escape(match: re.Match[str]) -> str:
        code = ord(match[0])
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

    return _SURROGATE.sub(escape, name)


def name_from_utf8(text: str) -> str:
    """Return the file name that `utf8_name` turned into `text`."""
    return re.sub(r"\\x([89a-f][0-9a-f])", lambda match: chr(0xDC00 + int(match[1], 16)), text)


def one_line(text: str) -> str:
    """Return a text that a terminal shows on one line: with control characters and invalid bytes escaped."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), utf8_name(text))
