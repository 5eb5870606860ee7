from embeddb_protos.v1 import common_pb2 as _common_pb2
from embeddb_protos.v1 import expressions_pb2 as _expressions_pb2
from embeddb_protos.v1 import search_pb2 as _search_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Matrix(_message.Message):
    __slots__ = ("data", "rows", "columns")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    rows: int
    columns: int
    def __init__(self, data: _Optional[bytes] = ..., rows: _Optional[int] = ..., columns: _Optional[int] = ...) -> None: ...

class CompareRequest(_message.Message):
    __slots__ = ("collection", "expressions", "others", "model", "arithmetic")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EXPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ARITHMETIC_FIELD_NUMBER: _ClassVar[int]
    collection: str
    expressions: _containers.RepeatedCompositeFieldContainer[_expressions_pb2.Expression]
    others: _containers.RepeatedCompositeFieldContainer[_expressions_pb2.Expression]
    model: str
    arithmetic: _expressions_pb2.Arithmetic
    def __init__(self, collection: _Optional[str] = ..., expressions: _Optional[_Iterable[_Union[_expressions_pb2.Expression, _Mapping]]] = ..., others: _Optional[_Iterable[_Union[_expressions_pb2.Expression, _Mapping]]] = ..., model: _Optional[str] = ..., arithmetic: _Optional[_Union[_expressions_pb2.Arithmetic, _Mapping]] = ...) -> None: ...

class CompareResponse(_message.Message):
    __slots__ = ("similarities",)
    SIMILARITIES_FIELD_NUMBER: _ClassVar[int]
    similarities: Matrix
    def __init__(self, similarities: _Optional[_Union[Matrix, _Mapping]] = ...) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("collection", "expressions", "zero_shot", "neighbours", "own_classes", "top", "model")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EXPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    ZERO_SHOT_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    OWN_CLASSES_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    collection: str
    expressions: _containers.RepeatedCompositeFieldContainer[_expressions_pb2.Expression]
    zero_shot: ZeroShot
    neighbours: Neighbours
    own_classes: OwnClasses
    top: int
    model: str
    def __init__(self, collection: _Optional[str] = ..., expressions: _Optional[_Iterable[_Union[_expressions_pb2.Expression, _Mapping]]] = ..., zero_shot: _Optional[_Union[ZeroShot, _Mapping]] = ..., neighbours: _Optional[_Union[Neighbours, _Mapping]] = ..., own_classes: _Optional[_Union[OwnClasses, _Mapping]] = ..., top: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class ZeroShot(_message.Message):
    __slots__ = ("labels", "templates", "scale")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    templates: _containers.RepeatedScalarFieldContainer[str]
    scale: float
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., templates: _Optional[_Iterable[str]] = ..., scale: _Optional[float] = ...) -> None: ...

class Neighbours(_message.Message):
    __slots__ = ("field", "k", "temperature")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    field: str
    k: int
    temperature: float
    def __init__(self, field: _Optional[str] = ..., k: _Optional[int] = ..., temperature: _Optional[float] = ...) -> None: ...

class OwnClasses(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClassifyResult(_message.Message):
    __slots__ = ("predictions", "error")
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    predictions: _common_pb2.Predictions
    error: _common_pb2.Error
    def __init__(self, predictions: _Optional[_Union[_common_pb2.Predictions, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ClassifyResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ClassifyResult, _Mapping]]] = ...) -> None: ...

class CalibrateRequest(_message.Message):
    __slots__ = ("collection", "field", "false_accept_rate", "model", "center")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    FALSE_ACCEPT_RATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CENTER_FIELD_NUMBER: _ClassVar[int]
    collection: str
    field: str
    false_accept_rate: float
    model: str
    center: bool
    def __init__(self, collection: _Optional[str] = ..., field: _Optional[str] = ..., false_accept_rate: _Optional[float] = ..., model: _Optional[str] = ..., center: bool = ...) -> None: ...

class CalibrateResponse(_message.Message):
    __slots__ = ("items", "same_pairs", "different_pairs", "equal_error_threshold", "equal_error_rate", "threshold", "false_accept_rate", "false_reject_rate")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SAME_PAIRS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENT_PAIRS_FIELD_NUMBER: _ClassVar[int]
    EQUAL_ERROR_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    EQUAL_ERROR_RATE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FALSE_ACCEPT_RATE_FIELD_NUMBER: _ClassVar[int]
    FALSE_REJECT_RATE_FIELD_NUMBER: _ClassVar[int]
    items: int
    same_pairs: int
    different_pairs: int
    equal_error_threshold: float
    equal_error_rate: float
    threshold: float
    false_accept_rate: float
    false_reject_rate: float
    def __init__(self, items: _Optional[int] = ..., same_pairs: _Optional[int] = ..., different_pairs: _Optional[int] = ..., equal_error_threshold: _Optional[float] = ..., equal_error_rate: _Optional[float] = ..., threshold: _Optional[float] = ..., false_accept_rate: _Optional[float] = ..., false_reject_rate: _Optional[float] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("collection", "field", "camera", "queries", "gallery", "ranks", "multi_shot", "rerank", "candidates", "center", "model")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    MULTI_SHOT_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    CENTER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    collection: str
    field: str
    camera: str
    queries: str
    gallery: str
    ranks: _containers.RepeatedScalarFieldContainer[int]
    multi_shot: bool
    rerank: _search_pb2.KReciprocal
    candidates: int
    center: bool
    model: str
    def __init__(self, collection: _Optional[str] = ..., field: _Optional[str] = ..., camera: _Optional[str] = ..., queries: _Optional[str] = ..., gallery: _Optional[str] = ..., ranks: _Optional[_Iterable[int]] = ..., multi_shot: bool = ..., rerank: _Optional[_Union[_search_pb2.KReciprocal, _Mapping]] = ..., candidates: _Optional[int] = ..., center: bool = ..., model: _Optional[str] = ...) -> None: ...

class EvaluateResponse(_message.Message):
    __slots__ = ("queries", "unmatched", "gallery", "mean_average_precision", "cmc", "recall")
    class CmcEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: float
        def __init__(self, key: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...
    class RecallEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: float
        def __init__(self, key: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_FIELD_NUMBER: _ClassVar[int]
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    MEAN_AVERAGE_PRECISION_FIELD_NUMBER: _ClassVar[int]
    CMC_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    queries: int
    unmatched: int
    gallery: int
    mean_average_precision: float
    cmc: _containers.ScalarMap[int, float]
    recall: _containers.ScalarMap[int, float]
    def __init__(self, queries: _Optional[int] = ..., unmatched: _Optional[int] = ..., gallery: _Optional[int] = ..., mean_average_precision: _Optional[float] = ..., cmc: _Optional[_Mapping[int, float]] = ..., recall: _Optional[_Mapping[int, float]] = ...) -> None: ...

class FindDuplicatesRequest(_message.Message):
    __slots__ = ("collection", "threshold", "filter", "model")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    collection: str
    threshold: float
    filter: str
    model: str
    def __init__(self, collection: _Optional[str] = ..., threshold: _Optional[float] = ..., filter: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class Duplicates(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[str]] = ...) -> None: ...

class FindDuplicatesResponse(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[Duplicates]
    def __init__(self, groups: _Optional[_Iterable[_Union[Duplicates, _Mapping]]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("stage", "done", "total")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class StreamFindDuplicatesRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: FindDuplicatesRequest
    def __init__(self, request: _Optional[_Union[FindDuplicatesRequest, _Mapping]] = ...) -> None: ...

class StreamFindDuplicatesResponse(_message.Message):
    __slots__ = ("progress", "response")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    response: FindDuplicatesResponse
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., response: _Optional[_Union[FindDuplicatesResponse, _Mapping]] = ...) -> None: ...

class StreamEvaluateRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: EvaluateRequest
    def __init__(self, request: _Optional[_Union[EvaluateRequest, _Mapping]] = ...) -> None: ...

class StreamEvaluateResponse(_message.Message):
    __slots__ = ("progress", "response")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    response: EvaluateResponse
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., response: _Optional[_Union[EvaluateResponse, _Mapping]] = ...) -> None: ...

class KMeans(_message.Message):
    __slots__ = ("k", "iterations", "seed")
    K_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    k: int
    iterations: int
    seed: int
    def __init__(self, k: _Optional[int] = ..., iterations: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class Hdbscan(_message.Message):
    __slots__ = ("min_size", "neighbours")
    MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    min_size: int
    neighbours: int
    def __init__(self, min_size: _Optional[int] = ..., neighbours: _Optional[int] = ...) -> None: ...

class FindClustersRequest(_message.Message):
    __slots__ = ("collection", "k_means", "hdbscan", "filter", "field", "central", "center", "model")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    K_MEANS_FIELD_NUMBER: _ClassVar[int]
    HDBSCAN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    CENTRAL_FIELD_NUMBER: _ClassVar[int]
    CENTER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    collection: str
    k_means: KMeans
    hdbscan: Hdbscan
    filter: str
    field: str
    central: int
    center: bool
    model: str
    def __init__(self, collection: _Optional[str] = ..., k_means: _Optional[_Union[KMeans, _Mapping]] = ..., hdbscan: _Optional[_Union[Hdbscan, _Mapping]] = ..., filter: _Optional[str] = ..., field: _Optional[str] = ..., central: _Optional[int] = ..., center: bool = ..., model: _Optional[str] = ...) -> None: ...

class Cluster(_message.Message):
    __slots__ = ("label", "size", "central")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CENTRAL_FIELD_NUMBER: _ClassVar[int]
    label: int
    size: int
    central: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, label: _Optional[int] = ..., size: _Optional[int] = ..., central: _Optional[_Iterable[str]] = ...) -> None: ...

class FindClustersResponse(_message.Message):
    __slots__ = ("ids", "labels", "clusters", "inertia", "written")
    IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    INERTIA_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedScalarFieldContainer[int]
    clusters: _containers.RepeatedCompositeFieldContainer[Cluster]
    inertia: float
    written: int
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[int]] = ..., clusters: _Optional[_Iterable[_Union[Cluster, _Mapping]]] = ..., inertia: _Optional[float] = ..., written: _Optional[int] = ...) -> None: ...

class StreamFindClustersRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: FindClustersRequest
    def __init__(self, request: _Optional[_Union[FindClustersRequest, _Mapping]] = ...) -> None: ...

class StreamFindClustersResponse(_message.Message):
    __slots__ = ("progress", "response")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    response: FindClustersResponse
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., response: _Optional[_Union[FindClustersResponse, _Mapping]] = ...) -> None: ...

class Pca(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Umap(_message.Message):
    __slots__ = ("neighbours", "min_distance", "seed")
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    MIN_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    neighbours: int
    min_distance: float
    seed: int
    def __init__(self, neighbours: _Optional[int] = ..., min_distance: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class MapItemsRequest(_message.Message):
    __slots__ = ("collection", "pca", "umap", "filter", "sample", "center", "model")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PCA_FIELD_NUMBER: _ClassVar[int]
    UMAP_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CENTER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    collection: str
    pca: Pca
    umap: Umap
    filter: str
    sample: int
    center: bool
    model: str
    def __init__(self, collection: _Optional[str] = ..., pca: _Optional[_Union[Pca, _Mapping]] = ..., umap: _Optional[_Union[Umap, _Mapping]] = ..., filter: _Optional[str] = ..., sample: _Optional[int] = ..., center: bool = ..., model: _Optional[str] = ...) -> None: ...

class MapItemsResponse(_message.Message):
    __slots__ = ("ids", "points", "items", "explained")
    IDS_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    points: Matrix
    items: int
    explained: float
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., points: _Optional[_Union[Matrix, _Mapping]] = ..., items: _Optional[int] = ..., explained: _Optional[float] = ...) -> None: ...

class StreamMapItemsRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: MapItemsRequest
    def __init__(self, request: _Optional[_Union[MapItemsRequest, _Mapping]] = ...) -> None: ...

class StreamMapItemsResponse(_message.Message):
    __slots__ = ("progress", "response")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    response: MapItemsResponse
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., response: _Optional[_Union[MapItemsResponse, _Mapping]] = ...) -> None: ...
