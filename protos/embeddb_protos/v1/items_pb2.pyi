from embeddb_protos.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PutStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUT_STATUS_UNSPECIFIED: _ClassVar[PutStatus]
    PUT_STATUS_CREATED: _ClassVar[PutStatus]
    PUT_STATUS_REPLACED: _ClassVar[PutStatus]
    PUT_STATUS_UNCHANGED: _ClassVar[PutStatus]
    PUT_STATUS_FAILED: _ClassVar[PutStatus]
PUT_STATUS_UNSPECIFIED: PutStatus
PUT_STATUS_CREATED: PutStatus
PUT_STATUS_REPLACED: PutStatus
PUT_STATUS_UNCHANGED: PutStatus
PUT_STATUS_FAILED: PutStatus

class PutItem(_message.Message):
    __slots__ = ("id", "content", "metadata_json", "features", "predictions")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Vector
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ...) -> None: ...
    class PredictionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Predictions
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Predictions, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    content: _common_pb2.Content
    metadata_json: str
    features: _containers.MessageMap[str, _common_pb2.Vector]
    predictions: _containers.MessageMap[str, _common_pb2.Predictions]
    def __init__(self, id: _Optional[str] = ..., content: _Optional[_Union[_common_pb2.Content, _Mapping]] = ..., metadata_json: _Optional[str] = ..., features: _Optional[_Mapping[str, _common_pb2.Vector]] = ..., predictions: _Optional[_Mapping[str, _common_pb2.Predictions]] = ...) -> None: ...

class PutColumns(_message.Message):
    __slots__ = ("ids", "metadata_json", "features")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Vectors
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Vectors, _Mapping]] = ...) -> None: ...
    IDS_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    metadata_json: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.MessageMap[str, _common_pb2.Vectors]
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., metadata_json: _Optional[_Iterable[str]] = ..., features: _Optional[_Mapping[str, _common_pb2.Vectors]] = ...) -> None: ...

class PutOutcomes(_message.Message):
    __slots__ = ("statuses", "errors")
    class ErrorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: _common_pb2.Error
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedScalarFieldContainer[PutStatus]
    errors: _containers.MessageMap[int, _common_pb2.Error]
    def __init__(self, statuses: _Optional[_Iterable[_Union[PutStatus, str]]] = ..., errors: _Optional[_Mapping[int, _common_pb2.Error]] = ...) -> None: ...

class PutResult(_message.Message):
    __slots__ = ("id", "status", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: PutStatus
    error: _common_pb2.Error
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[PutStatus, str]] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...

class PutItemsRequest(_message.Message):
    __slots__ = ("collection", "items", "columns")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    items: _containers.RepeatedCompositeFieldContainer[PutItem]
    columns: PutColumns
    def __init__(self, collection: _Optional[str] = ..., items: _Optional[_Iterable[_Union[PutItem, _Mapping]]] = ..., columns: _Optional[_Union[PutColumns, _Mapping]] = ...) -> None: ...

class PutItemsResponse(_message.Message):
    __slots__ = ("results", "columns")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PutResult]
    columns: PutOutcomes
    def __init__(self, results: _Optional[_Iterable[_Union[PutResult, _Mapping]]] = ..., columns: _Optional[_Union[PutOutcomes, _Mapping]] = ...) -> None: ...

class StreamPutItemsRequest(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: PutItemsRequest
    def __init__(self, batch: _Optional[_Union[PutItemsRequest, _Mapping]] = ...) -> None: ...

class StreamPutItemsResponse(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: PutItemsResponse
    error: _common_pb2.Error
    def __init__(self, response: _Optional[_Union[PutItemsResponse, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("id", "metadata_json", "modality", "content", "features", "predictions")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Vector
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ...) -> None: ...
    class PredictionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Predictions
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Predictions, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    metadata_json: str
    modality: _common_pb2.Modality
    content: _common_pb2.Content
    features: _containers.MessageMap[str, _common_pb2.Vector]
    predictions: _containers.MessageMap[str, _common_pb2.Predictions]
    def __init__(self, id: _Optional[str] = ..., metadata_json: _Optional[str] = ..., modality: _Optional[_Union[_common_pb2.Modality, str]] = ..., content: _Optional[_Union[_common_pb2.Content, _Mapping]] = ..., features: _Optional[_Mapping[str, _common_pb2.Vector]] = ..., predictions: _Optional[_Mapping[str, _common_pb2.Predictions]] = ...) -> None: ...

class ItemView(_message.Message):
    __slots__ = ("content", "features", "predictions")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    content: bool
    features: bool
    predictions: bool
    def __init__(self, content: bool = ..., features: bool = ..., predictions: bool = ...) -> None: ...

class GetItemsRequest(_message.Message):
    __slots__ = ("collection", "ids", "view")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    view: ItemView
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., view: _Optional[_Union[ItemView, _Mapping]] = ...) -> None: ...

class GetResult(_message.Message):
    __slots__ = ("item", "error")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    item: Item
    error: _common_pb2.Error
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...

class GetItemsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[GetResult]
    def __init__(self, results: _Optional[_Iterable[_Union[GetResult, _Mapping]]] = ...) -> None: ...

class DeleteItemsRequest(_message.Message):
    __slots__ = ("collection", "ids")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteResult(_message.Message):
    __slots__ = ("id", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    error: _common_pb2.Error
    def __init__(self, id: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...

class DeleteItemsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[DeleteResult]
    def __init__(self, results: _Optional[_Iterable[_Union[DeleteResult, _Mapping]]] = ...) -> None: ...

class DeleteItemsByFilterRequest(_message.Message):
    __slots__ = ("collection", "filter", "dry_run")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: str
    dry_run: bool
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class DeleteItemsByFilterResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    def __init__(self, deleted: _Optional[int] = ...) -> None: ...

class ListItemsRequest(_message.Message):
    __slots__ = ("collection", "page_size", "page_token", "view", "prefix")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    collection: str
    page_size: int
    page_token: str
    view: ItemView
    prefix: str
    def __init__(self, collection: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., view: _Optional[_Union[ItemView, _Mapping]] = ..., prefix: _Optional[str] = ...) -> None: ...

class ListItemsResponse(_message.Message):
    __slots__ = ("items", "next_page_token")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    next_page_token: str
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
