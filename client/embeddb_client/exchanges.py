"""What the two clients share: every call with one request as plain data, which either of them sends.

An `Exchange` says where a call goes, what is sent and what the answer means. The clients differ only in how
they wait for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from embeddb.arguments import checked
from embeddb.errors import EmbeddbError
from embeddb.query import (
    Backfill,
    BackupInfo,
    CollectionInfo,
    CollectionSettings,
    Embedding,
    Finding,
    Hit,
    ItemPage,
    KeyInfo,
    ModelInfo,
    PutResult,
    RunOptions,
    Search,
    Stats,
    StoredItem,
    View,
    as_content,
    check_names,
    check_page_size,
    json_text,
)
from embeddb.questions import Question
from embeddb_client.batches import Batch
from embeddb_protos.v1 import admin_pb2, analysis_pb2, collections_pb2, items_pb2, models_pb2, search_pb2
from embeddb_protos.wire.errors import error_from
from embeddb_protos.wire.items import (
    content_message,
    embedding_from,
    item_from,
    view_message,
)
from embeddb_protos.wire.puts import put_request_message, put_results_from
from embeddb_protos.wire.questions import codec_of
from embeddb_protos.wire.search import response_from, search_message
from embeddb_protos.wire.service import (
    backfill_from,
    collection_from,
    model_from,
    options_message,
    settings_message,
    stats_from,
)
from embeddb_protos.wire.upkeep import backup_from, finding_from, key_from

__all__ = ["Exchange"]

A = TypeVar("A")
R = TypeVar("R")
Found = list[list[Hit] | EmbeddbError]


@dataclass(frozen=True)
class Exchange(Generic[R]):
    """One call.

    Attributes:
        method: the attribute of a connection that makes the call, such as "items.GetItems".
        request: the message to send.
        read: makes the result of the response message.
        streamed: whether messages of progress come before that one.
    """

    method: str
    request: Any
    read: Callable[[Any], R]
    streamed: bool = False


# -- Models and collections -----------------------------------------------------------------------------


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
    return Exchange("models.RemoveModel", models_pb2.RemoveModelRequest(name=name), _nothing)


@checked
def embed(model: str, contents: Sequence[object]) -> Exchange[list[Embedding | EmbeddbError]]:
    """Run contents through a model; images are read here."""
    messages = [content_message(as_content(content)) for content in contents]
    return Exchange(
        "models.Embed",
        models_pb2.EmbedRequest(model=model, contents=messages),
        lambda response: [
            embedding_from(result.embedding) if result.HasField("embedding") else error_from(result.error)
            for result in response.results
        ],
    )


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
def get_collection(name: str) -> Exchange[CollectionInfo]:
    """One collection."""
    request = collections_pb2.GetCollectionRequest(name=name)
    return Exchange(
        "collections.GetCollection", request, lambda response: collection_from(response.collection)
    )


@checked
def drop_collection(name: str) -> Exchange[None]:
    """Delete a collection with all its items."""
    request = collections_pb2.DropCollectionRequest(name=name)
    return Exchange("collections.DropCollection", request, _nothing)


@checked
def add_model(collection: str, model: str) -> Exchange[None]:
    """Let a model embed a collection's items."""
    request = collections_pb2.AddModelRequest(collection=collection, model=model)
    return Exchange("collections.AddModel", request, _nothing)


@checked
def start_backfill(collection: str, model: str) -> Exchange[Backfill]:
    """Embed the stored items that lack a model's features."""
    request = collections_pb2.StartBackfillRequest(collection=collection, model=model)
    return Exchange("collections.StartBackfill", request, lambda response: backfill_from(response.backfill))


@checked
def list_backfills(collection: str) -> Exchange[list[Backfill]]:
    """How far a collection's backfills are."""
    request = collections_pb2.ListBackfillsRequest(collection=collection)
    return Exchange(
        "collections.ListBackfills",
        request,
        lambda response: [backfill_from(each) for each in response.backfills],
    )


@checked
def drop_model(collection: str, model: str, replaced_by: str | None, force: bool) -> Exchange[None]:
    """Drop a model with its features from a collection."""
    request = collections_pb2.DropModelRequest(
        collection=collection, model=model, replaced_by=replaced_by or "", force=force
    )
    return Exchange("collections.DropModel", request, _nothing)


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
    return Exchange("admin.DeleteKey", admin_pb2.DeleteKeyRequest(name=name), _nothing)


# -- Items ----------------------------------------------------------------------------------------------


def put_items(collection: str, batch: Batch) -> Exchange[list[PutResult]]:
    """Store a batch; what failed before it could be sent keeps its result."""
    request = put_request_message(collection, [each for each in batch if not isinstance(each, PutResult)])

    def read(response: items_pb2.PutItemsResponse) -> list[PutResult]:
        sent = iter(put_results_from(request, response))
        return [each if isinstance(each, PutResult) else next(sent) for each in batch]

    return Exchange("items.PutItems", request, read)


@checked
def get_items(
    collection: str, item_ids: Sequence[str], view: View | None
) -> Exchange[list[StoredItem | EmbeddbError]]:
    """Items by their ids."""
    request = items_pb2.GetItemsRequest(
        collection=collection, ids=item_ids, view=view_message(view or View())
    )
    return Exchange(
        "items.GetItems",
        request,
        lambda response: [
            item_from(result.item) if result.HasField("item") else error_from(result.error)
            for result in response.results
        ],
    )


@checked
def delete_items(collection: str, item_ids: Sequence[str]) -> Exchange[list[EmbeddbError | None]]:
    """Delete items by their ids."""
    return Exchange(
        "items.DeleteItems",
        items_pb2.DeleteItemsRequest(collection=collection, ids=item_ids),
        lambda response: [
            error_from(each.error) if each.HasField("error") else None for each in response.results
        ],
    )


@checked
def delete_by_filter(collection: str, filter: str, dry_run: bool) -> Exchange[int]:  # noqa: A002 - as in `Search`
    """Delete the items that satisfy a filter, or count them."""
    request = items_pb2.DeleteItemsByFilterRequest(collection=collection, filter=filter, dry_run=dry_run)
    return Exchange("items.DeleteItemsByFilter", request, lambda response: int(response.deleted))


@checked
def list_items(
    collection: str, page_size: int, page_token: str, prefix: str, view: View | None
) -> Exchange[ItemPage]:
    """A page of a collection."""
    request = items_pb2.ListItemsRequest(
        collection=collection,
        page_size=check_page_size(page_size),
        page_token=page_token,
        prefix=prefix,
        view=view_message(view or View()),
    )
    return Exchange(
        "items.ListItems",
        request,
        lambda response: ItemPage([item_from(item) for item in response.items], response.next_page_token),
    )


# -- Questions ------------------------------------------------------------------------------------------


@checked
def search_items(collection: str, search: Search) -> Exchange[Found]:
    """Find what is near; images are read here."""
    return Exchange("search.Search", search_message(collection, search), response_from)


@checked
def stream_request(collection: str, search: Search) -> search_pb2.StreamSearchRequest:
    """The same search as a message on an open stream."""
    return search_pb2.StreamSearchRequest(request=search_message(collection, search))


def stream_response(response: search_pb2.StreamSearchResponse) -> Found:
    """What a message on an open stream says.

    Raises:
        EmbeddbError: the search was refused as a whole.
    """
    if response.HasField("error"):
        raise error_from(response.error)
    return response_from(response.response)


@checked
def ask(collection: str, question: Question[A]) -> Exchange[A]:
    """Answer a question about a collection; images are read here."""
    codec = codec_of(question)
    request = codec.request_message(collection, question)
    if not codec.streamed:
        return Exchange(f"analysis.{codec.method}", request, codec.answer_from)
    envelope = getattr(analysis_pb2, f"Stream{codec.method}Request")(request=request)
    return Exchange(f"analysis.Stream{codec.method}", envelope, codec.answer_from, streamed=True)


def _nothing(response: object) -> None:
    """The response says no more than that it is done."""
