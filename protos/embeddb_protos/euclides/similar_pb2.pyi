from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FindSimilarImageRequest(_message.Message):
    __slots__ = ("top_k", "image_data", "models")
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DATA_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    top_k: int
    image_data: bytes
    models: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, top_k: _Optional[int] = ..., image_data: _Optional[bytes] = ..., models: _Optional[_Iterable[str]] = ...) -> None: ...

class FindSimilarImageByIdRequest(_message.Message):
    __slots__ = ("top_k", "image_id", "models")
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    top_k: int
    image_id: int
    models: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, top_k: _Optional[int] = ..., image_id: _Optional[int] = ..., models: _Optional[_Iterable[str]] = ...) -> None: ...

class SearchResults(_message.Message):
    __slots__ = ("top_k_ids", "distances", "model")
    TOP_K_IDS_FIELD_NUMBER: _ClassVar[int]
    DISTANCES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    top_k_ids: _containers.RepeatedScalarFieldContainer[int]
    distances: _containers.RepeatedScalarFieldContainer[float]
    model: str
    def __init__(self, top_k_ids: _Optional[_Iterable[int]] = ..., distances: _Optional[_Iterable[float]] = ..., model: _Optional[str] = ...) -> None: ...

class FindSimilarImageReply(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SearchResults]
    def __init__(self, results: _Optional[_Iterable[_Union[SearchResults, _Mapping]]] = ...) -> None: ...

class AddImageRequest(_message.Message):
    __slots__ = ("image_id", "image_data", "image_metadata", "models")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DATA_FIELD_NUMBER: _ClassVar[int]
    IMAGE_METADATA_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    image_id: int
    image_data: bytes
    image_metadata: bytes
    models: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, image_id: _Optional[int] = ..., image_data: _Optional[bytes] = ..., image_metadata: _Optional[bytes] = ..., models: _Optional[_Iterable[str]] = ...) -> None: ...

class ItemVectors(_message.Message):
    __slots__ = ("model", "predictions", "features")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    model: str
    predictions: _containers.RepeatedScalarFieldContainer[float]
    features: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, model: _Optional[str] = ..., predictions: _Optional[_Iterable[float]] = ..., features: _Optional[_Iterable[float]] = ...) -> None: ...

class AddImageReply(_message.Message):
    __slots__ = ("vectors",)
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    vectors: _containers.RepeatedCompositeFieldContainer[ItemVectors]
    def __init__(self, vectors: _Optional[_Iterable[_Union[ItemVectors, _Mapping]]] = ...) -> None: ...

class RemoveImageRequest(_message.Message):
    __slots__ = ("image_id",)
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    image_id: int
    def __init__(self, image_id: _Optional[int] = ...) -> None: ...

class RemoveImageReply(_message.Message):
    __slots__ = ("image_id",)
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    image_id: int
    def __init__(self, image_id: _Optional[int] = ...) -> None: ...

class ShutdownRequest(_message.Message):
    __slots__ = ("shutdown_type",)
    SHUTDOWN_TYPE_FIELD_NUMBER: _ClassVar[int]
    shutdown_type: int
    def __init__(self, shutdown_type: _Optional[int] = ...) -> None: ...

class ShutdownReply(_message.Message):
    __slots__ = ("shutdown",)
    SHUTDOWN_FIELD_NUMBER: _ClassVar[int]
    shutdown: bool
    def __init__(self, shutdown: bool = ...) -> None: ...
