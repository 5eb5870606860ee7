"""Check a data folder end to end: what is stored, and the indexes and columns that are kept beside it."""

from __future__ import annotations

from pathlib import Path

from embeddb.index import snapshot_damage
from embeddb.kept_columns import NAME, columns_damage
from embeddb.query import Finding
from embeddb.storage import verify as verify_storage

__all__ = ["verify"]


def verify(path: str | Path, *, repair: bool = False) -> list[Finding]:
    """Check a data folder that no process has open; see `embeddb.storage.verify`.

    Args:
        repair: whether to mend what can be mended.

    Returns:
        What is wrong, or was before the repair; nothing if the folder is sound.

    Raises:
        FailedPreconditionError: there is no data folder, another process has it open, or its format is newer.
    """
    return verify_storage(path, repair=repair, also=_verify_caches)


def _verify_caches(name: str, folder: Path, to_mend: bool, repair: bool) -> list[Finding]:
    columns = folder / "indexes" / NAME
    problems = {file: snapshot_damage(file) for file in sorted((folder / "indexes").glob("*.index"))}
    problems |= {columns: columns_damage(columns)} if columns.exists() else {}
    findings = []
    for file, damage in problems.items():
        # They may know of rows that storage has lost, and gives to other items once it is mended.
        problem = damage or ("what is stored is not what it was made of" if to_mend else None)
        if problem is not None:
            kind, remedy = ("index", "start") if file != columns else ("columns", "filter")
            advice = f"it is deleted; the next {remedy} makes it anew"
            findings.append(Finding(name, f"the {kind} file {file.name} is of no use: {problem}", advice))
            if repair:
                file.unlink()
    return findings
