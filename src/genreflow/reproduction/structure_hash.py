"""Hash of what the code of an architecture computes: results that were stored are void when it changes."""

import ast
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any


def structure_hash(build: Callable[..., Any]) -> str:
    """Hash the code of an architecture: its module without registry rows, imports, comments, docstrings and types.

    Parameters
    ----------
    build : callable
        A function of the module.

    Returns
    -------
    str
        Sixteen hex digits.
    """
    tree = ast.parse(Path(inspect.getfile(build)).read_text(encoding="utf-8"))
    statements = [node for node in tree.body if not _is_ignored(node)]
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef):
                node.returns = None
                if _is_docstring(node.body[0]) and len(node.body) > 1:
                    del node.body[0]
            elif isinstance(node, ast.arg):
                node.annotation = None
    text = "\n".join(ast.dump(statement) for statement in statements)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_ignored(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "ARCHITECTURES" for target in node.targets)
    is_type_import = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return is_type_import or isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
