"""What the ONNX standard says of an operator, by operator set. Knows no model."""

from __future__ import annotations

from onnx import defs

OWN_DOMAINS = frozenset({"", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training"}) | frozenset(
    {"com.microsoft", "com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc"}
)
"""Where ONNX or the runtime has operators."""


def schema_of(op_type: str, opset: int, domain: str = "") -> defs.OpSchema | None:
    """What an operator is in an operator set; None where it is not there, or no longer."""
    if not defs.has(op_type, domain):
        return None
    try:
        schema = defs.get_schema(op_type, opset, domain)
    except defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def same_signature(one: defs.OpSchema, other: defs.OpSchema) -> bool:
    """Whether inputs, outputs and attributes with their defaults are the same; the types that are allowed may differ."""
    return _signature(one) == _signature(other)


def _signature(schema: defs.OpSchema) -> tuple[object, ...]:
    ends = tuple((end.name, str(end.option)) for end in (*schema.inputs, *schema.outputs))
    defaults = {name: attribute.default_value.SerializeToString() for name, attribute in schema.attributes.items()}
    return len(schema.inputs), ends, defaults
