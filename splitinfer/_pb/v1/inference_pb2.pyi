from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InferRequest(_message.Message):
    __slots__ = ("digest", "cut", "codec", "parts")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    digest: str
    cut: int
    codec: str
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    def __init__(self, digest: _Optional[str] = ..., cut: _Optional[int] = ..., codec: _Optional[str] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("name", "dtype", "shape", "codec", "chunks")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    codec: str
    chunks: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., codec: _Optional[str] = ..., chunks: _Optional[_Iterable[bytes]] = ...) -> None: ...

class InferResponse(_message.Message):
    __slots__ = ("parts", "times", "load", "digest", "cut", "codec")
    PARTS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    times: StageTimes
    load: Load
    digest: str
    cut: int
    codec: str
    def __init__(self, parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., times: _Optional[_Union[StageTimes, _Mapping]] = ..., load: _Optional[_Union[Load, _Mapping]] = ..., digest: _Optional[str] = ..., cut: _Optional[int] = ..., codec: _Optional[str] = ...) -> None: ...

class StageTimes(_message.Message):
    __slots__ = ("queue_ms", "decode_ms", "tail_ms", "encode_ms", "server_ms")
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    TAIL_MS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_MS_FIELD_NUMBER: _ClassVar[int]
    SERVER_MS_FIELD_NUMBER: _ClassVar[int]
    queue_ms: float
    decode_ms: float
    tail_ms: float
    encode_ms: float
    server_ms: float
    def __init__(self, queue_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., tail_ms: _Optional[float] = ..., encode_ms: _Optional[float] = ..., server_ms: _Optional[float] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("queue_ms", "in_flight", "tail_scale")
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    TAIL_SCALE_FIELD_NUMBER: _ClassVar[int]
    queue_ms: float
    in_flight: int
    tail_scale: float
    def __init__(self, queue_ms: _Optional[float] = ..., in_flight: _Optional[int] = ..., tail_scale: _Optional[float] = ...) -> None: ...

class InferChunkedRequest(_message.Message):
    __slots__ = ("total_bytes", "piece")
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    total_bytes: int
    piece: bytes
    def __init__(self, total_bytes: _Optional[int] = ..., piece: _Optional[bytes] = ...) -> None: ...

class InferChunkedResponse(_message.Message):
    __slots__ = ("received_bytes", "response")
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    received_bytes: int
    response: InferResponse
    def __init__(self, received_bytes: _Optional[int] = ..., response: _Optional[_Union[InferResponse, _Mapping]] = ...) -> None: ...

class ProbeRequest(_message.Message):
    __slots__ = ("padding",)
    PADDING_FIELD_NUMBER: _ClassVar[int]
    padding: bytes
    def __init__(self, padding: _Optional[bytes] = ...) -> None: ...

class ProbeResponse(_message.Message):
    __slots__ = ("received_bytes", "server_ms")
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SERVER_MS_FIELD_NUMBER: _ClassVar[int]
    received_bytes: int
    server_ms: float
    def __init__(self, received_bytes: _Optional[int] = ..., server_ms: _Optional[float] = ...) -> None: ...
