"""The calls about a server: its models, its collections, and its upkeep. Each gives an `Exchange`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from embeddb.arguments import checked
from embeddb.errors import EmbeddbError
from embeddb.query import (
    BackupInfo,
    CollectionInfo,
    CollectionSettings,
    Embedding,
    Finding,
    KeyInfo,
    ModelInfo,
    RunOptions,
    Stats,
    as_content,
    check_names,
    json_text,
)
from embeddb_client.exchange import Exchange, nothing
from embeddb_protos.v1 import admin_pb2, collections_pb2, models_pb2
from embeddb_protos.wire.errors import error_from
from embeddb_protos.wire.items import content_message, embedding_from
from embeddb_protos.wire.service import (
    collection_from,
    model_from,
    options_message,
    settings_message,
    stats_from,
)
from embeddb_protos.wire.upkeep import backup_from, finding_from, key_from
from embeddb_protos.wire.versions import one_each

# -- Models ---------------------------------------------------------------------------------------------


@checked
def register_model(name: str, spec: Mapping[str, Any], options: RunOptions | None) -> Exchange[ModelInfo]:
    """Have a model loaded."""
    request = models_pb2.RegisterModelRequest(
        name=name, spec_json=json_text("spec", spec), options=options_message(options or RunOptions())
    )
    return Exchange("models.RegisterModel", request, lambda response: model_from(response.model))


def list_models(page_token: str) -> Exchange[tuple[list[ModelInfo], str]]:
    """A page of the models, and the token of the next."""
    return Exchange(
        "models.ListModels",
        models_pb2.ListModelsRequest(page_token=page_token),
        lambda response: (list(map(model_from, response.models)), response.next_page_token),
    )


@checked
def get_model(name: str) -> Exchange[ModelInfo]:
    """One model."""
    request = models_pb2.GetModelRequest(name=name)
    return Exchange("models.GetModel", request, lambda response: model_from(response.model))


@checked
def load_model(name: str) -> Exchange[ModelInfo]:
    """Load a registered model."""
    request = models_pb2.LoadModelRequest(name=name)
    return Exchange("models.LoadModel", request, lambda response: model_from(response.model))


@checked
def unload_model(name: str) -> Exchange[ModelInfo]:
    """Free a model's memory."""
    request = models_pb2.UnloadModelRequest(name=name)
    return Exchange("models.UnloadModel", request, lambda response: model_from(response.model))


@checked
def remove_model(name: str) -> Exchange[None]:
    """Unload and forget a model."""
    return Exchange("models.RemoveModel", models_pb2.RemoveModelRequest(name=name), nothing)


@checked
def embed(model: str, contents: Sequence[object]) -> Exchange[list[Embedding | EmbeddbError]]:
    """Run contents through a model; images are read here."""
    messages = [content_message(as_content(content)) for content in contents]
    return Exchange(
        "models.Embed",
        models_pb2.EmbedRequest(model=model, contents=messages),
        lambda response: one_each(
            len(messages),
            [
                embedding_from(result.embedding) if result.HasField("embedding") else error_from(result.error)
                for result in response.results
            ],
        ),
    )


# -- Collections ----------------------------------------------------------------------------------------


@checked
def create_collection(
    name: str, models: Sequence[str], settings: CollectionSettings | None
) -> Exchange[CollectionInfo]:
    """Make a collection."""
    request = collections_pb2.CreateCollectionRequest(
        name=name,
        models=check_names("models", models),
        settings=settings_message(settings or CollectionSettings()),
    )
    return Exchange(
        "collections.CreateCollection", request, lambda response: collection_from(response.collection)
    )


def list_collections(page_token: str) -> Exchange[tuple[list[CollectionInfo], str]]:
    """A page of the collections, and the token of the next."""
    return Exchange(
        "collections.ListCollections",
        collections_pb2.ListCollectionsRequest(page_token=page_token),
        lambda response: (list(map(collection_from, response.collections)), response.next_page_token),
    )


@checked
def drop_collection(name: str) -> Exchange[None]:
    """Delete a collection with all its items."""
    request = collections_pb2.DropCollectionRequest(name=name)
    return Exchange("collections.DropCollection", request, nothing)


# -- The server -----------------------------------------------------------------------------------------


def get_stats() -> Exchange[Stats]:
    """The server's figures."""
    return Exchange("admin.GetStats", admin_pb2.GetStatsRequest(), stats_from)


@checked
def backup(name: str) -> Exchange[BackupInfo]:
    """Copy the data folder while it is served."""
    return Exchange("admin.Backup", admin_pb2.BackupRequest(name=name), backup_from, streamed=True)


def verify_data() -> Exchange[list[Finding]]:
    """Check all that is stored."""
    return Exchange(
        "admin.Verify",
        admin_pb2.VerifyRequest(),
        lambda response: list(map(finding_from, response.findings)),
        streamed=True,
    )


@checked
def create_key(name: str, role: str, collections: Sequence[str]) -> Exchange[str]:
    """Make an API key."""
    key = admin_pb2.Key(name=name, role=role, collections=check_names("collections", collections))
    request = admin_pb2.CreateKeyRequest(key=key)
    return Exchange("admin.CreateKey", request, lambda response: str(response.secret))


def list_keys() -> Exchange[list[KeyInfo]]:
    """The API keys."""
    return Exchange(
        "admin.ListKeys", admin_pb2.ListKeysRequest(), lambda response: list(map(key_from, response.keys))
    )


@checked
def delete_key(name: str) -> Exchange[None]:
    """Make an API key worthless."""
    return Exchange("admin.DeleteKey", admin_pb2.DeleteKeyRequest(name=name), nothing)
