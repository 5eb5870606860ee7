"""What a shell completes where names are expected. A server that does not answer completes nothing."""

from __future__ import annotations

import typer

from embeddb.errors import EmbeddbError
from embeddb_client.cli.config import Config
from embeddb_client.client import Client

__all__ = ["collection_names", "context_names", "model_names"]

# Whoever presses the tab key waits no longer than this.
SECONDS = 2.0


def context_names(context: typer.Context) -> list[str]:
    """The contexts."""
    try:
        return list(Config.read().contexts)
    except EmbeddbError:
        return []


def collection_names(context: typer.Context) -> list[str]:
    """The collections of the server that the line names so far."""
    try:
        with _client(context) as client:
            return [collection.name for collection in client.collections()]
    except EmbeddbError:
        return []


def model_names(context: typer.Context) -> list[str]:
    """The models of the server that the line names so far."""
    try:
        with _client(context) as client:
            return [model.name for model in client.models()]
    except EmbeddbError:
        return []


def _client(context: typer.Context) -> Client:
    meant = Config.read().find(context.params.get("server"))
    return Client(meant.server, timeout=SECONDS, access=meant.access())
