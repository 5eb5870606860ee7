"""Copies of a data folder, made while a process serves it.

Each environment is copied as it is at one moment, by LMDB, without its free pages. A backup is itself a data
folder; a restore is a backup in the other direction.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from embeddb.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from embeddb.storage.catalogue import Catalogue
from embeddb.storage.environment import DATA_FILE, Environment, as_ours, sync_folder

__all__ = ["CATALOGUE", "COLLECTIONS", "backup", "write_backup"]

CATALOGUE = Path("catalogue")
COLLECTIONS = Path("collections")


def backup(source: str | Path, target: str | Path) -> list[str]:
    """Copy a data folder that no process, or another process, has open.

    Args:
        target: where to; a folder that is not there yet, or is empty.

    Returns:
        The names of the collections that it holds.

    Raises:
        NotFoundError: there is no data folder at `source`.
        AlreadyExistsError: there is something at `target`.
        FailedPreconditionError: a collection was dropped meanwhile, or the format is newer.
        ResourceExhaustedError: the disk is full.
        DataLossError: the source's files are damaged.
    """
    source = Path(source)
    if not (source / CATALOGUE / DATA_FILE).exists():
        raise NotFoundError("data folder", str(source))
    return write_backup(lambda place, copy: _copy(source / place, copy), Path(target))


def write_backup(
    copy: Callable[[Path, Path], None],
    target: Path,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Make a backup; see `backup`.

    Args:
        copy: copies the environment at a place inside the data folder into a folder.
        told: is called with how many collections are copied, and how many there are; what it raises ends the
            backup.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AlreadyExistsError("file or folder", str(target))
    # Nobody takes a half of a backup for one; a backup's own name cannot begin with a dot.
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        copy(CATALOGUE, unfinished / CATALOGUE)
        catalogue = Catalogue(unfinished / CATALOGUE)
        try:
            names = list(catalogue.collections())
        finally:
            catalogue.close()
        for done, name in enumerate(names):
            told(done, len(names))
            copy(COLLECTIONS / name, unfinished / COLLECTIONS / name)
        try:
            unfinished.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise as_ours(error, target.parent) from error
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return names


def _copy(source: Path, target: Path) -> None:
    if not (source / DATA_FILE).exists():
        raise FailedPreconditionError(f"{source} was dropped while the backup was made; begin it again")
    env = Environment(source, (), readonly=True)
    try:
        env.copy(target)
    finally:
        env.close()
