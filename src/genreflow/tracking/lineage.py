"""Where the code and data of a run come from, and how to restore them."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


def lineage_tags(root: Path | str = ".", **hashes: str) -> dict[str, str]:
    """Return the tags that say what a run was made from.

    Parameters
    ----------
    root : Path
        The project folder.
    **hashes : str
        Such as ``manifest_hash`` and ``split_hash``.

    Returns
    -------
    dict of str to str
        `hashes`; in a git repository also ``git_revision``, and ``git_dirty`` ("true" if tracked files differ from it,
        else "false"); inside ``dvc exp run`` also ``dvc_experiment``.
    """
    tags = {name: str(value) for name, value in hashes.items()}
    if revision := _git(root, "rev-parse", "HEAD"):
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        tags |= {"git_revision": revision, "git_dirty": str(bool(changed)).lower()}
        tags["mlflow.source.git.commit"] = revision  # the UI's column "Version"
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc_experiment"] = experiment
    return tags


def restore_command(tags: Mapping[str, object]) -> str:
    """Return the shell command that restores the data of a run; empty if it was made outside a git repository.

    Parameters
    ----------
    tags : mapping of str to any
        From `lineage_tags`.
    """
    if experiment := tags.get("dvc_experiment"):
        return f"dvc exp apply {experiment}"
    if revision := tags.get("git_revision"):
        return f"git checkout {str(revision)[:12]} && dvc checkout"
    return ""


def _git(root: Path | str, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
