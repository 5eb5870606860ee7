from embeddb_protos.v1 import analysis_pb2 as _analysis_pb2
from embeddb_protos.v1 import collections_pb2 as _collections_pb2
from embeddb_protos.v1 import models_pb2 as _models_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SpaceStats(_message.Message):
    __slots__ = ("model", "vectors", "dimension", "index", "recall")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    model: str
    vectors: int
    dimension: int
    index: str
    recall: float
    def __init__(self, model: _Optional[str] = ..., vectors: _Optional[int] = ..., dimension: _Optional[int] = ..., index: _Optional[str] = ..., recall: _Optional[float] = ...) -> None: ...

class CollectionStats(_message.Message):
    __slots__ = ("collection", "spaces")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    collection: _collections_pb2.Collection
    spaces: _containers.RepeatedCompositeFieldContainer[SpaceStats]
    def __init__(self, collection: _Optional[_Union[_collections_pb2.Collection, _Mapping]] = ..., spaces: _Optional[_Iterable[_Union[SpaceStats, _Mapping]]] = ...) -> None: ...

class GetStatsResponse(_message.Message):
    __slots__ = ("version", "uptime_seconds", "bytes_on_disk", "models", "collections")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BYTES_ON_DISK_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    uptime_seconds: float
    bytes_on_disk: int
    models: _containers.RepeatedCompositeFieldContainer[_models_pb2.Model]
    collections: _containers.RepeatedCompositeFieldContainer[CollectionStats]
    def __init__(self, version: _Optional[str] = ..., uptime_seconds: _Optional[float] = ..., bytes_on_disk: _Optional[int] = ..., models: _Optional[_Iterable[_Union[_models_pb2.Model, _Mapping]]] = ..., collections: _Optional[_Iterable[_Union[CollectionStats, _Mapping]]] = ...) -> None: ...

class BackupRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class BackedUp(_message.Message):
    __slots__ = ("name", "collections")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    collections: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., collections: _Optional[_Iterable[str]] = ...) -> None: ...

class BackupResponse(_message.Message):
    __slots__ = ("progress", "response")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    progress: _analysis_pb2.Progress
    response: BackedUp
    def __init__(self, progress: _Optional[_Union[_analysis_pb2.Progress, _Mapping]] = ..., response: _Optional[_Union[BackedUp, _Mapping]] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Finding(_message.Message):
    __slots__ = ("where", "problem", "repair")
    WHERE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    where: str
    problem: str
    repair: str
    def __init__(self, where: _Optional[str] = ..., problem: _Optional[str] = ..., repair: _Optional[str] = ...) -> None: ...

class Verified(_message.Message):
    __slots__ = ("findings",)
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("progress", "response")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    progress: _analysis_pb2.Progress
    response: Verified
    def __init__(self, progress: _Optional[_Union[_analysis_pb2.Progress, _Mapping]] = ..., response: _Optional[_Union[Verified, _Mapping]] = ...) -> None: ...

class Key(_message.Message):
    __slots__ = ("name", "role", "collections", "created")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: str
    collections: _containers.RepeatedScalarFieldContainer[str]
    created: str
    def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., collections: _Optional[_Iterable[str]] = ..., created: _Optional[str] = ...) -> None: ...

class CreateKeyRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class CreateKeyResponse(_message.Message):
    __slots__ = ("key", "secret")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    key: Key
    secret: str
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListKeysResponse(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[Key]
    def __init__(self, keys: _Optional[_Iterable[_Union[Key, _Mapping]]] = ...) -> None: ...

class DeleteKeyRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteKeyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
