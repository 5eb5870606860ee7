"""The commands of `embeddb-server` that look after a data folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from embeddb.errors import DataLossError
from embeddb.storage import backup as copy_folder
from embeddb_server.keys import KeyFile, Role

__all__ = ["backup", "keys", "restore", "verify"]


def verify(arguments: Sequence[str]) -> None:
    """Check a data folder that no server has open, and repair it if asked."""
    parser = _parser("verify", "Check a data folder that no server has open, end to end.")
    parser.add_argument("--repair", action="store_true", help="repair what can be repaired")
    options = parser.parse_args(arguments)
    # It compares the indexes too, and brings FAISS and torch along, which no other command needs.
    from embeddb.verify import verify as verify_folder

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


def keys(arguments: Sequence[str]) -> None:
    """Add, list and remove API keys; a server that is running heeds it at once."""
    parser = _parser("keys", "Add, list and remove API keys; a server that is running heeds it at once.")
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="make a key and print its secret, which is stored nowhere")
    add.add_argument("name")
    add.add_argument("--role", choices=[role.name.lower() for role in Role], default="read")
    add.add_argument("--collection", action="append", default=[], help="the only ones it opens")
    add.add_argument("--secret", type=Path, help="a file with the secret, if it is not to be made")
    commands.add_parser("list", help="print names, roles and collections")
    commands.add_parser("remove", help="make a key worthless").add_argument("name")
    options = parser.parse_args(arguments)
    file = KeyFile(options.data)
    if options.command == "add":
        # Before the server's first start, which wants a key where it listens beyond this machine.
        options.data.mkdir(parents=True, exist_ok=True)
        secret = None if options.secret is None else options.secret.read_text().strip()
        made = file.add(options.name, Role[options.role.upper()], options.collection, secret)
        if secret is None:
            print(made)
    elif options.command == "remove":
        file.remove(options.name)
    else:
        for key in file.all():
            print(key.name, key.role.name.lower(), ",".join(key.collections) or "*", key.created, sep="\t")


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"embeddb-server {command}", description=description)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    return parser
