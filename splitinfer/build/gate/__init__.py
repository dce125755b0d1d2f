"""Looks at a foreign model before the runtime sees it: a model is a program, and it may come from anybody.

    parts      every place in a model where something may hide
    tensors    stored tensors are as large as they say          operators  known ones only, a bounded number of them
    files      weights beside the model stay in its folder      loops      none that obviously never ends
    sizes      how many bytes come out of small inputs

`check` reads the model alone, `check_bytes` needs it in plain form. What they cannot tell (a Loop that grows a tensor, say) is
left to the limits of the process that runs it.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from splitinfer.build.gate import files, loops, operators, tensors
from splitinfer.build.gate.sizes import TENSOR_MAX_BYTES, check_bytes
from splitinfer.errors import UnsupportedModel

__all__ = ["TENSOR_MAX_BYTES", "check", "check_bytes"]


def check(model: onnx.ModelProto, path: Path) -> None:
    """Refuses what must not reach the runtime. Reads no weights.

    Args:
        model: as parsed; weights may be references to files beside it.
        path: its file.

    Raises:
        UnsupportedModel: names the file, the node or the tensor, the reason, and what would make it work.
    """
    try:
        operators.check(model)
        tensors.check(model)
        files.check(model, path.parent)
        loops.check(model)
    except UnsupportedModel as error:
        raise UnsupportedModel(f"{path.name}: {error}") from error
