from embeddb_protos.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Combine(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMBINE_UNSPECIFIED: _ClassVar[Combine]
    COMBINE_SUM: _ClassVar[Combine]
    COMBINE_PRODUCT: _ClassVar[Combine]
    COMBINE_BEST: _ClassVar[Combine]
COMBINE_UNSPECIFIED: Combine
COMBINE_SUM: Combine
COMBINE_PRODUCT: Combine
COMBINE_BEST: Combine

class Expression(_message.Message):
    __slots__ = ("terms",)
    TERMS_FIELD_NUMBER: _ClassVar[int]
    terms: _containers.RepeatedCompositeFieldContainer[Term]
    def __init__(self, terms: _Optional[_Iterable[_Union[Term, _Mapping]]] = ...) -> None: ...

class Term(_message.Message):
    __slots__ = ("weight", "image", "text", "item", "vector", "expression", "between", "box")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    BETWEEN_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    weight: float
    image: bytes
    text: str
    item: str
    vector: _common_pb2.Vector
    expression: Expression
    between: Between
    box: _common_pb2.Box
    def __init__(self, weight: _Optional[float] = ..., image: _Optional[bytes] = ..., text: _Optional[str] = ..., item: _Optional[str] = ..., vector: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ..., expression: _Optional[_Union[Expression, _Mapping]] = ..., between: _Optional[_Union[Between, _Mapping]] = ..., box: _Optional[_Union[_common_pb2.Box, _Mapping]] = ...) -> None: ...

class Between(_message.Message):
    __slots__ = ("start", "end", "t")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    T_FIELD_NUMBER: _ClassVar[int]
    start: Expression
    end: Expression
    t: float
    def __init__(self, start: _Optional[_Union[Expression, _Mapping]] = ..., end: _Optional[_Union[Expression, _Mapping]] = ..., t: _Optional[float] = ...) -> None: ...

class Arithmetic(_message.Message):
    __slots__ = ("combine", "keep_lengths", "center")
    COMBINE_FIELD_NUMBER: _ClassVar[int]
    KEEP_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    CENTER_FIELD_NUMBER: _ClassVar[int]
    combine: Combine
    keep_lengths: bool
    center: bool
    def __init__(self, combine: _Optional[_Union[Combine, str]] = ..., keep_lengths: bool = ..., center: bool = ...) -> None: ...
