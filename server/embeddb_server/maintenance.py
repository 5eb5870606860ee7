"""The commands of `embeddb-server` that look after a data folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from embeddb.errors import DataLossError
from embeddb.storage import backup as copy_folder
from embeddb.storage import verify as verify_folder

__all__ = ["backup", "restore", "verify"]


def verify(arguments: Sequence[str]) -> None:
    """Check a data folder that no server has open, and repair it if asked."""
    parser = _parser("verify", "Check a data folder that no server has open, end to end.")
    parser.add_argument("--repair", action="store_true", help="repair what can be repaired")
    options = parser.parse_args(arguments)
    findings = verify_folder(options.data, repair=options.repair)
    for finding in findings:
        print(finding)
    left = [finding for finding in findings if finding.repair is None or not options.repair]
    if left:
        advice = "restore a backup" if options.repair else "--repair does what each line says"
        raise DataLossError(f"{options.data} has {len(left)} problem(s); {advice}")
    print(f"{options.data} is sound" + (f", after {len(findings)} repair(s)" if findings else ""))


def backup(arguments: Sequence[str]) -> None:
    """Copy a data folder, also while a server has it open."""
    parser = _parser("backup", "Copy a data folder, also while a server has it open.")
    parser.add_argument("--to", type=Path, required=True, help="a folder that is not there yet, or is empty")
    options = parser.parse_args(arguments)
    names = copy_folder(options.data, options.to)
    print(f"{options.to} holds {len(names)} collection(s): {', '.join(names)}")


def restore(arguments: Sequence[str]) -> None:
    """Make a data folder of a backup."""
    parser = _parser("restore", "Make a data folder of a backup.")
    parser.add_argument("--backup", type=Path, required=True, help="what `embeddb-server backup` made")
    options = parser.parse_args(arguments)
    names = copy_folder(options.backup, options.data)
    print(f"{options.data} holds {len(names)} collection(s): {', '.join(names)}")


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"embeddb-server {command}", description=description)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    return parser
