"""EfficientNet-Lite0 with integers in the graph.

QuantizeLinear and DequantizeLinear stand around each operation, as the tools of ONNX Runtime put them; the scales come from
photos. Knows no cut.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from splitinfer.bench.models import efficientnet_lite0
from splitinfer.bench.photos import crops
from splitinfer.model import Tensors

if TYPE_CHECKING:
    import onnx

    ModelProto: TypeAlias = onnx.ModelProto

_PHOTOS = 8


def qdq_lite0(per_channel: bool = False) -> ModelProto:
    """The network in QDQ form: weights int8, activations uint8; per channel, activations are int8, too.

    Input and output are those of `efficientnet_lite0`: float32.

    Raises:
        MissingExtra: the extra `demo` is not installed.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Photos(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
        def __init__(self) -> None:
            self._left = iter(np.split(images()["image"], _PHOTOS))

        def get_next(self) -> Tensors | None:
            photo = next(self._left, None)
            return None if photo is None else {"image": photo}

    with tempfile.TemporaryDirectory() as name:
        plain, made = Path(name, "plain.onnx"), Path(name, "qdq.onnx")
        onnx.save(efficientnet_lite0(), plain)
        logging.disable(logging.WARNING)  # it recommends to pre-process; there is nothing left to fold in this graph
        try:
            quantize_static(
                plain,
                made,
                Photos(),
                quant_format=QuantFormat.QDQ,
                per_channel=per_channel,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QInt8 if per_channel else QuantType.QUInt8,
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(made)


def images() -> Tensors:
    """Photos as the network wants them: "image" float32 [8, 3, 224, 224]."""
    photos = (crops(_PHOTOS, "calibration").astype(np.float32) - np.float32(127)) / np.float32(128)
    return {"image": np.ascontiguousarray(photos.transpose(0, 3, 1, 2))}
