"""What an older runtime loads, and how a model is made so.

    lower       each node in the words of an older operator set
    expand      operators that are not in it, made of simpler ones      passes      the walk that both make

Devices and browsers often run an older ONNX Runtime than the machine that builds. Knows nothing of cuts, and not which
operators a runtime was built without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from google.protobuf.message import Message
from onnx import TensorProto

from splitinfer.build.elem_types import type_name
from splitinfer.build.target.lower import lower
from splitinfer.errors import InvalidInput, UnsupportedModel

_RUNTIMES: dict[int, tuple[int, int, int]] = {
    8: (7, 14, 2),
    9: (8, 15, 2),
    10: (8, 15, 2),
    11: (8, 16, 2),
    12: (8, 17, 3),
    13: (8, 17, 3),
    14: (8, 17, 3),
    15: (8, 18, 3),
    16: (9, 19, 3),
    17: (9, 20, 4),
    **dict.fromkeys(range(18, 21), (10, 21, 4)),
    **dict.fromkeys(range(21, 23), (10, 22, 5)),
    23: (11, 22, 5),
    24: (13, 25, 5),
    **dict.fromkeys(range(25, 32), (13, 26, 5)),
    32: (14, 27, 5),
}
"""Minor version of ONNX Runtime 1 -> newest IR version, operator set and ai.onnx.ml operator set that it runs.

Up to 1.20 from https://onnxruntime.ai/docs/reference/compatibility.html; later ones were found by giving each release models of
rising versions to load. The earlier ones were tried too, and where the two differ the lower one stands here: the IR version of
1.15 (9 in Python, 8 in a browser), ai.onnx.ml of 1.11 and 1.18 to 1.20. A release may accept an operator set and have no code
for what is new in it: 1.15 for Cast, Shape and others of 19, 1.23 for QuantizeLinear of 23, 1.32 for that of 28; and 1.14
crashes on the Pad of 18. The set before stands here then.
"""
_FIRST, _LAST = min(_RUNTIMES), max(_RUNTIMES)
_WEB = (10, 21, 4)
"""What runtimes of the last years have in common, in browsers too: that of 1.18."""

_TEXT = re.compile(r"(?:(?:onnxruntime|ort)(?:-web)?-)?1\.([0-9]{1,4})(?:\.[0-9]{1,4})?")
_FIRST_IR_OF_TYPE: dict[int, int] = {
    **dict.fromkeys((TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ), 9),
    **dict.fromkeys((TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ), 9),
    **dict.fromkeys((TensorProto.UINT4, TensorProto.INT4), 10),
    TensorProto.FLOAT4E2M1: 11,
    TensorProto.FLOAT8E8M0: 12,
    **dict.fromkeys((TensorProto.UINT2, TensorProto.INT2), 13),
}
"""https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, enum Version. Types that are not here are older, or newer than 13."""
_NOTES: dict[str, int] = {"metadata_props": 10, "device_configurations": 11, "configuration": 11}
"""Fields that say nothing about the answer, and the IR version they came with."""


@dataclass(frozen=True, slots=True)
class Target:
    """A runtime, by what it loads.

    Attributes:
        name: as messages call it.
        ir_version: the newest.
        opset: the newest of ai.onnx.
        ml_opset: the newest of ai.onnx.ml.
    """

    name: str
    ir_version: int
    opset: int
    ml_opset: int

    @classmethod
    def parse(cls, text: str) -> Target:
        """Reads "1.17", "1.17.3", "onnxruntime-1.17", "ort-web-1.20"; or "web" and "any" for the widest reach (that of 1.18).

        Raises:
            InvalidInput: no such version, or a newer one than this program knows.
        """
        if text in ("web", "any"):
            return cls(text, *_WEB)
        found = _TEXT.fullmatch(text)
        if found is None or int(found[1]) not in _RUNTIMES:
            raise InvalidInput(
                f'there is no target runtime {text!r}: give a version of ONNX Runtime from "1.{_FIRST}" to "1.{_LAST}", '
                f'or "web" for any of the last years'
            )
        return cls(f"onnxruntime 1.{int(found[1])}", *_RUNTIMES[int(found[1])])


def conform(model: onnx.ModelProto, target: Target) -> None:
    """Makes a model so that the target loads it, in place; one that is old enough stays as it is. Weights are not touched.

    Args:
        model: with functions written out as far as they can be.
        target: the runtime.

    Raises:
        UnsupportedModel: it needs what the target does not have; says which node or tensor, and what would help.
    """
    lower(model, {"": target.opset, "ai.onnx.ml": target.ml_opset})
    if model.ir_version <= target.ir_version:
        return
    _refuse_newer(model, target)
    for message in _messages(model):
        for name, since in _NOTES.items():
            if target.ir_version < since and name in message.DESCRIPTOR.fields_by_name:
                message.ClearField(name)
    model.ir_version = target.ir_version


def _refuse_newer(model: onnx.ModelProto, target: Target) -> None:
    hint = f"which {target.name} does not have (its newest IR version is {target.ir_version})"
    if model.functions and target.ir_version < 8:
        raise UnsupportedModel(f"the model holds the function {model.functions[0].name!r}, {hint}: export it without functions")
    for message in _messages(model):
        if isinstance(message, onnx.FunctionProto):
            if message.overload and target.ir_version < 10:
                raise UnsupportedModel(f"the function {message.name!r} is overloaded, {hint}: export it without functions")
            if message.attribute_proto and target.ir_version < 9:
                raise UnsupportedModel(f"the function {message.name!r} has defaults, {hint}: export it without functions")
        kind = _element_type(message)
        if target.ir_version < _FIRST_IR_OF_TYPE.get(kind, 14 if kind > max(_FIRST_IR_OF_TYPE) else 0):
            what = getattr(message, "name", "") or "a tensor"
            raise UnsupportedModel(f"{what!r} is {type_name(kind)}, {hint}: quantise to int8, or choose a newer target runtime")


def _element_type(message: Message) -> int:
    """The type that a message of ONNX gives to a tensor, 0 where it is not about one."""
    if isinstance(message, TensorProto):
        return int(message.data_type)
    if isinstance(message, onnx.ValueInfoProto):
        return int(message.type.tensor_type.elem_type)
    if isinstance(message, onnx.AttributeProto) and message.name in ("to", "dtype", "output_dtype"):
        return int(message.i)
    return 0


def _messages(message: Any) -> Iterator[Any]:
    """A message and all that are in it, at any depth."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for inner in value if isinstance(value, list) or hasattr(value, "add") else (value,):
            yield from _messages(inner)
