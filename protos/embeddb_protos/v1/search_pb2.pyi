from embeddb_protos.v1 import common_pb2 as _common_pb2
from embeddb_protos.v1 import expressions_pb2 as _expressions_pb2
from embeddb_protos.v1 import items_pb2 as _items_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Effort(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EFFORT_UNSPECIFIED: _ClassVar[Effort]
    EFFORT_BALANCED: _ClassVar[Effort]
    EFFORT_SPEED: _ClassVar[Effort]
    EFFORT_ACCURACY: _ClassVar[Effort]
    EFFORT_EXACT: _ClassVar[Effort]

class FusionMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FUSION_METHOD_UNSPECIFIED: _ClassVar[FusionMethod]
    FUSION_METHOD_RANK: _ClassVar[FusionMethod]
    FUSION_METHOD_MIN_MAX: _ClassVar[FusionMethod]
    FUSION_METHOD_Z_SCORE: _ClassVar[FusionMethod]
    FUSION_METHOD_SIDE_BY_SIDE: _ClassVar[FusionMethod]
EFFORT_UNSPECIFIED: Effort
EFFORT_BALANCED: Effort
EFFORT_SPEED: Effort
EFFORT_ACCURACY: Effort
EFFORT_EXACT: Effort
FUSION_METHOD_UNSPECIFIED: FusionMethod
FUSION_METHOD_RANK: FusionMethod
FUSION_METHOD_MIN_MAX: FusionMethod
FUSION_METHOD_Z_SCORE: FusionMethod
FUSION_METHOD_SIDE_BY_SIDE: FusionMethod

class SearchRequest(_message.Message):
    __slots__ = ("collection", "expressions", "vectors", "columns", "k", "model", "include_operands", "view", "arithmetic", "explain", "candidates", "filter", "offset", "min_score", "group", "diversify", "k_reciprocal", "fusion", "effort")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EXPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_OPERANDS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    ARITHMETIC_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    DIVERSIFY_FIELD_NUMBER: _ClassVar[int]
    K_RECIPROCAL_FIELD_NUMBER: _ClassVar[int]
    FUSION_FIELD_NUMBER: _ClassVar[int]
    EFFORT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    expressions: _containers.RepeatedCompositeFieldContainer[_expressions_pb2.Expression]
    vectors: _common_pb2.Vectors
    columns: bool
    k: int
    model: str
    include_operands: bool
    view: _items_pb2.ItemView
    arithmetic: _expressions_pb2.Arithmetic
    explain: bool
    candidates: int
    filter: str
    offset: int
    min_score: float
    group: Group
    diversify: Diversify
    k_reciprocal: KReciprocal
    fusion: Fusion
    effort: Effort
    def __init__(self, collection: _Optional[str] = ..., expressions: _Optional[_Iterable[_Union[_expressions_pb2.Expression, _Mapping]]] = ..., vectors: _Optional[_Union[_common_pb2.Vectors, _Mapping]] = ..., columns: bool = ..., k: _Optional[int] = ..., model: _Optional[str] = ..., include_operands: bool = ..., view: _Optional[_Union[_items_pb2.ItemView, _Mapping]] = ..., arithmetic: _Optional[_Union[_expressions_pb2.Arithmetic, _Mapping]] = ..., explain: bool = ..., candidates: _Optional[int] = ..., filter: _Optional[str] = ..., offset: _Optional[int] = ..., min_score: _Optional[float] = ..., group: _Optional[_Union[Group, _Mapping]] = ..., diversify: _Optional[_Union[Diversify, _Mapping]] = ..., k_reciprocal: _Optional[_Union[KReciprocal, _Mapping]] = ..., fusion: _Optional[_Union[Fusion, _Mapping]] = ..., effort: _Optional[_Union[Effort, str]] = ...) -> None: ...

class Fusion(_message.Message):
    __slots__ = ("models", "method", "weights")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedScalarFieldContainer[str]
    method: FusionMethod
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, models: _Optional[_Iterable[str]] = ..., method: _Optional[_Union[FusionMethod, str]] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("field", "size")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    field: str
    size: int
    def __init__(self, field: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class Diversify(_message.Message):
    __slots__ = ("weight",)
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    weight: float
    def __init__(self, weight: _Optional[float] = ...) -> None: ...

class KReciprocal(_message.Message):
    __slots__ = ("k1", "k2", "weight")
    K1_FIELD_NUMBER: _ClassVar[int]
    K2_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    k1: int
    k2: int
    weight: float
    def __init__(self, k1: _Optional[int] = ..., k2: _Optional[int] = ..., weight: _Optional[float] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("item", "score", "explanation", "group_json", "model")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    GROUP_JSON_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    item: _items_pb2.Item
    score: float
    explanation: _containers.RepeatedCompositeFieldContainer[Contribution]
    group_json: str
    model: str
    def __init__(self, item: _Optional[_Union[_items_pb2.Item, _Mapping]] = ..., score: _Optional[float] = ..., explanation: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., group_json: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("weight", "similarity", "share")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    weight: float
    similarity: float
    share: float
    def __init__(self, weight: _Optional[float] = ..., similarity: _Optional[float] = ..., share: _Optional[float] = ...) -> None: ...

class Hits(_message.Message):
    __slots__ = ("hits",)
    HITS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ...) -> None: ...

class SearchResult(_message.Message):
    __slots__ = ("hits", "error")
    HITS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    hits: Hits
    error: _common_pb2.Error
    def __init__(self, hits: _Optional[_Union[Hits, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...

class HitColumns(_message.Message):
    __slots__ = ("counts", "errors", "ids", "scores", "metadata_json", "modalities")
    class ErrorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: _common_pb2.Error
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.MessageMap[int, _common_pb2.Error]
    ids: _containers.RepeatedScalarFieldContainer[str]
    scores: _containers.RepeatedScalarFieldContainer[float]
    metadata_json: _containers.RepeatedScalarFieldContainer[str]
    modalities: _containers.RepeatedScalarFieldContainer[_common_pb2.Modality]
    def __init__(self, counts: _Optional[_Iterable[int]] = ..., errors: _Optional[_Mapping[int, _common_pb2.Error]] = ..., ids: _Optional[_Iterable[str]] = ..., scores: _Optional[_Iterable[float]] = ..., metadata_json: _Optional[_Iterable[str]] = ..., modalities: _Optional[_Iterable[_Union[_common_pb2.Modality, str]]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("results", "columns")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SearchResult]
    columns: HitColumns
    def __init__(self, results: _Optional[_Iterable[_Union[SearchResult, _Mapping]]] = ..., columns: _Optional[_Union[HitColumns, _Mapping]] = ...) -> None: ...

class StreamSearchRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: SearchRequest
    def __init__(self, request: _Optional[_Union[SearchRequest, _Mapping]] = ...) -> None: ...

class StreamSearchResponse(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: SearchResponse
    error: _common_pb2.Error
    def __init__(self, response: _Optional[_Union[SearchResponse, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...
