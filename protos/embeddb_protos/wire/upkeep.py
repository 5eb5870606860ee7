"""Backups, findings and keys on the wire."""

from __future__ import annotations

from embeddb.query import BackupInfo, Finding, KeyInfo
from embeddb_protos.v1 import admin_pb2

__all__ = [
    "backup_from",
    "backup_message",
    "finding_from",
    "finding_message",
    "key_from",
    "key_message",
]


def backup_message(backup: BackupInfo) -> admin_pb2.BackedUp:
    """A backup as a message."""
    return admin_pb2.BackedUp(name=backup.name, collections=backup.collections)


def backup_from(message: admin_pb2.BackedUp) -> BackupInfo:
    """A backup that was made."""
    return BackupInfo(message.name, tuple(message.collections))


def finding_message(finding: Finding) -> admin_pb2.Finding:
    """Something that is wrong as a message."""
    return admin_pb2.Finding(where=finding.where, problem=finding.problem, repair=finding.repair or "")


def finding_from(message: admin_pb2.Finding) -> Finding:
    """Something that is wrong."""
    return Finding(message.where, message.problem, message.repair or None)


def key_message(key: KeyInfo) -> admin_pb2.Key:
    """A key as a message."""
    return admin_pb2.Key(name=key.name, role=key.role, collections=key.collections, created=key.created)


def key_from(message: admin_pb2.Key) -> KeyInfo:
    """A key without its secret."""
    return KeyInfo(message.name, message.role, tuple(message.collections), message.created)
