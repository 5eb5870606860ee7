"""LMDB: the one source of truth.

A data folder holds a catalogue (models, collections, the format's version) and one environment a
collection. Nothing outside this package opens an LMDB transaction.

    DataFolder(path)                     exclusive to one process
        .catalogue                       plain records, each change durable when it returns
        .collection(name)                a CollectionStore
            .write([Put | Delete, ...])  all or nothing; returns when durable; concurrent calls share a commit
            .get / .by_rows / .payloads / .features / .list_records / .scan
    backup(path, target)                 copies a folder, also while another process has it open
    verify(path)                         checks a folder that no process has open, and repairs it

A row is never reused: an overwrite gives the item a new one, so an index only ever adds and removes rows.
"""

from embeddb.storage.backup import backup
from embeddb.storage.catalogue import Catalogue
from embeddb.storage.collection_store import CollectionStore
from embeddb.storage.environment import Durability, Use
from embeddb.storage.folder import DataFolder, of_each
from embeddb.storage.records import Committed, Delete, Put, Record, Written
from embeddb.storage.verify import verify

__all__ = [
    "Catalogue",
    "CollectionStore",
    "Committed",
    "DataFolder",
    "Delete",
    "Durability",
    "Put",
    "Record",
    "Use",
    "Written",
    "backup",
    "of_each",
    "verify",
]
