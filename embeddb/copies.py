"""Copies of a data folder that is being used: backups, and the copy that is verified."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from pathlib import Path

from embeddb.errors import AlreadyExistsError
from embeddb.progress import Step
from embeddb.query import BackupInfo, Finding
from embeddb.storage import DataFolder, verify

__all__ = ["Copies"]

# No backup is in its way: a name cannot begin with a dot.
VERIFIED = ".verify"


class Copies:
    """Copies a data folder, one copy at a time. Thread-safe.

    A copy takes minutes, and only other copies wait for it.

    Args:
        folder: what is copied.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._copying = threading.Lock()

    def backup(self, target: Path) -> None:
        """Make a backup in a folder; see `Database.backup`."""
        with self._copying:
            self._folder.backup(target)

    def save_backup(self, name: str, step: Step) -> BackupInfo:
        """Make a backup under a name; see `Database.save_backup`.

        Args:
            step: told how many collections are copied.
        """
        with self._copying:
            target = self._folder.backups() / name
            if target.exists():
                raise AlreadyExistsError("backup", name)
            names = self._folder.backup(target, partial(step, "copying"))
        return BackupInfo(name, tuple(names))

    def verify(self, step: Step) -> list[Finding]:
        """Check what is stored, in a copy that is deleted afterwards; see `Database.verify_data`.

        Args:
            step: told how many collections are copied, and then checked.
        """
        with self._copying:
            copy = self._folder.backups() / VERIFIED
            try:
                self._folder.backup(copy, partial(step, "copying"))
                return verify(copy, told=partial(step, "checking"))
            finally:
                shutil.rmtree(copy, ignore_errors=True)
