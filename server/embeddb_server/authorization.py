"""Who may call what: a key's role and collections against what a call needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from embeddb.errors import PermissionDeniedError, UnauthenticatedError
from embeddb_server.handlers import Behaviour, Call, CallInterceptor, Method, Steps, carried, sent
from embeddb_server.keys import Key, KeyFile, Role

__all__ = ["OPEN", "REQUIRED", "SERVER_WIDE", "AuthorizationInterceptor"]

REQUIRED = {
    "AdminService/Backup": Role.ADMIN,
    "AdminService/CreateKey": Role.ADMIN,
    "AdminService/DeleteKey": Role.ADMIN,
    "AdminService/GetStats": Role.READ,
    "AdminService/ListKeys": Role.ADMIN,
    "AdminService/Verify": Role.ADMIN,
    "AnalysisService/Calibrate": Role.READ,
    "AnalysisService/Classify": Role.READ,
    "AnalysisService/Compare": Role.READ,
    "AnalysisService/Evaluate": Role.READ,
    "AnalysisService/FindDuplicates": Role.READ,
    "AnalysisService/StreamEvaluate": Role.READ,
    "AnalysisService/StreamFindClusters": Role.READ,
    "AnalysisService/StreamFindDuplicates": Role.READ,
    "AnalysisService/StreamMapItems": Role.READ,
    "CollectionService/ListCollections": Role.READ,
    "CollectionService/GetCollection": Role.READ,
    "CollectionService/CreateCollection": Role.ADMIN,
    "CollectionService/DropCollection": Role.ADMIN,
    "CollectionService/AddModel": Role.ADMIN,
    "CollectionService/StartBackfill": Role.ADMIN,
    "CollectionService/ListBackfills": Role.READ,
    "CollectionService/DropModel": Role.ADMIN,
    "ItemService/GetItems": Role.READ,
    "ItemService/ListItems": Role.READ,
    "ItemService/PutItems": Role.WRITE,
    "ItemService/StreamPutItems": Role.WRITE,
    "ItemService/DeleteItems": Role.WRITE,
    "ItemService/DeleteItemsByFilter": Role.WRITE,
    "ModelService/ListModels": Role.READ,
    "ModelService/GetModel": Role.READ,
    "ModelService/Embed": Role.READ,
    "ModelService/RegisterModel": Role.ADMIN,
    "ModelService/LoadModel": Role.ADMIN,
    "ModelService/UnloadModel": Role.ADMIN,
    "ModelService/RemoveModel": Role.ADMIN,
    "SearchService/Search": Role.READ,
    "SearchService/StreamSearch": Role.READ,
    "euclidesproto.Similar/AddImage": Role.WRITE,
    "euclidesproto.Similar/RemoveImage": Role.WRITE,
    "euclidesproto.Similar/FindSimilarImage": Role.READ,
    "euclidesproto.Similar/FindSimilarImageById": Role.READ,
    "euclidesproto.Similar/Shutdown": Role.ADMIN,
}
"""The role that each call needs; one that is not here needs `ADMIN`."""

WRITING = {"AnalysisService/StreamFindClusters": "field"}
"""Calls that need `WRITE` where this field of theirs is set."""

SERVER_WIDE = frozenset(
    {
        "ModelService/ListModels",
        "ModelService/GetModel",
        "ModelService/Embed",
        "grpc.health.v1.Health/Watch",
    }
)
"""Calls that name no collection, and are open to a key that is for some collections alone."""

OPEN = "/grpc.health.v1.Health/Check"
"""Probes carry no key. Watching takes one of the streams, which anonymous callers could take all of."""


class AuthorizationInterceptor(CallInterceptor):
    """Refuses calls that their key does not allow; a key comes as the metadata `authorization: Bearer KEY`.

    Args:
        keys: those that there are.
        required: whether a key is needed even if there are none; else every call passes then.
    """

    def __init__(self, keys: KeyFile, required: bool) -> None:
        self._keys = keys
        self._required = required

    def around(self, behaviour: Behaviour, method: Method) -> Behaviour:
        """The behaviour after the checks; what they raise is a call's error like any other."""
        if method.name == OPEN:
            return behaviour

        def guarded(request: Any, call: Call) -> Steps:
            key = self._authenticate(call)
            if key is None:
                return behaviour(request, call)
            _check_role(key, method.name)
            if method.takes_stream:
                return behaviour(_checked(key, method.name, request), call)
            _check_request(key, method.name, request)
            return behaviour(request, call)

        return guarded

    def _authenticate(self, call: Call) -> Key | None:
        """The caller's key; None where none is needed."""
        if not self._keys and not self._required:
            return None
        header = sent(call, "authorization")
        scheme, _, secret = header.partition(" ")
        if not header:
            raise UnauthenticatedError(
                "this server wants an API key: give Access(api_key=KEY) to a Python client, EMBEDDB_API_KEY "
                "to the command line, or send the metadata authorization: Bearer KEY"
            )
        key = self._keys.find(secret.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise UnauthenticatedError("the API key is not known here, or was removed")
        return key


def _check_role(key: Key, method: str) -> None:
    needed = REQUIRED.get(_short(method), Role.ADMIN)
    if method.startswith(("/grpc.reflection.", "/grpc.health.")):
        needed = Role.READ
    _require(key, needed, method)


def _require(key: Key, needed: Role, what: str) -> None:
    if key.role < needed:
        has = key.role.name.lower()
        raise PermissionDeniedError(
            f"{what} needs the role {needed.name.lower()}; the key {key.name!r} has {has}"
        )


def _checked(key: Key, method: str, requests: Iterator[Any]) -> Iterator[Any]:
    for request in requests:
        _check_request(key, method, request)
        yield request


def _check_request(key: Key, method: str, request: Any) -> None:
    short = _short(method)
    field = WRITING.get(short)
    if field is not None and getattr(carried(request), field):
        _require(key, Role.WRITE, f"{method} with {field}")
    if not key.collections or short in SERVER_WIDE:
        return
    name = _collection(short, request)
    if name not in key.collections:
        raise PermissionDeniedError(
            f"{method}: the key {key.name!r} is for {', '.join(key.collections)} alone"
            + (f", not for {name}" if name else "")
        )


def _collection(method: str, request: Any) -> str | None:
    """The collection that a request is about; None for one about the whole server."""
    request = carried(request)
    fields = request.DESCRIPTOR.fields_by_name
    if "collection" in fields:
        return request.collection or "default"
    if method.startswith("CollectionService/") and "name" in fields:
        return str(request.name)
    return None


def _short(method: str) -> str:
    """A call's name as it stands in `REQUIRED`."""
    return method.removeprefix("/").removeprefix("embeddb.v1.")
