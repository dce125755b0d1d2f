"""Whole files from somebody who means harm, as `read` and `simplify` meet them, and files that are damaged at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.build import gate
from splitinfer.build.load import read, simplify
from splitinfer.errors import UnsupportedModel
from tests import hostile_models as hostile
from tests import models
from tests.models import FLOAT


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def bottomless(depth: int) -> bytes:
    """A graph in an attribute of a node of a graph, and so on, deeper than any library would write it."""
    graph = _field(2, b"leaf")
    for _ in range(depth):
        graph = _field(1, _field(4, b"If") + _field(5, _field(1, b"then_branch") + _field(6, graph)))
    return bytes([8, 9]) + _field(7, graph) + _field(8, bytes([16, 17]))


def _outside(location: str, **entries: Any) -> Callable[[], onnx.ModelProto]:
    return lambda: hostile.adds(hostile.outside(location, **entries))


def _raw(**fields: Any) -> Callable[[], onnx.ModelProto]:
    return lambda: hostile.adds(TensorProto(name="w", data_type=FLOAT, **fields))


FILES: dict[str, Callable[[], onnx.ModelProto | bytes]] = {
    "dotdot": _outside("../secret.bin"),
    "nested dotdot": _outside("sub/../../secret.bin"),
    "absolute": _outside("/etc/hostname"),
    "symbolic link": _outside("sym.bin"),
    "linked folder": _outside("symsub/secret.bin"),
    "hard link": _outside("hard.bin"),
    "pipe": _outside("pipe.bin"),
    "address": _outside("*/_ORT_MEM_ADDR_/*"),
    "offset": _outside("w.bin", offset=1 << 40),
    "huge": _outside("w.bin", dims=(1 << 48,), length=1 << 50),
    "negative offset": _outside("w.bin", offset=-16),
    "sparse weight outside": lambda: hostile.sparse_weight(hostile.outside("../secret.bin")),
    "sparse constant outside": lambda: hostile.sparse_constant(hostile.outside("../secret.bin")),
    "branch outside": lambda: hostile.in_branch(hostile.outside("../secret.bin")),
    "function outside": lambda: hostile.in_function(hostile.outside("../secret.bin")),
    "sparse bomb": lambda: hostile.sparse_weight(numpy_helper.from_array(np.ones(1, np.float32), "w"), (1 << 40,)),
    "raw data too short": _raw(dims=[1 << 20, 1 << 20], raw_data=b"1234"),
    "negative dimension": _raw(dims=[-4], raw_data=b"1234" * 4),
    "cycle": hostile.cycle,
    "custom operator": lambda: hostile.chained(helper.make_node("Evil", ["x"], ["y"], domain="com.evil")),
    "compiled blob": lambda: hostile.chained(helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")),
    "nested branches": lambda: hostile.nested(30),
    "bottomless": lambda: bottomless(3000),
    "calls itself": hostile.mutual_calls,
    "laughs": lambda: hostile.laughs(15),
    "many nodes": lambda: hostile.many_nodes(200_001),
    "second definition": lambda: hostile.calls("F", *[hostile.function("F", helper.make_node("Abs", ["v"], ["out"]))] * 2),
    "endless loop": hostile.ENDLESS["condition handed on"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile.with_files(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("which", FILES)
def test_a_hostile_file_is_refused_before_the_runtime_sees_it(home: Path, which: str) -> None:
    content = FILES[which]()
    path = home / "evil.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(UnsupportedModel) as caught:
        simplify(read(path)[0])
    assert str(home) not in str(caught.value)


def _damaged(proto: onnx.ModelProto, dice: random.Random) -> onnx.ModelProto:
    """Clears, repeats or changes one field of one message, anywhere."""
    damaged = onnx.ModelProto.FromString(proto.SerializeToString())
    message: Any = damaged
    while True:
        inner = [value for field, value in message.ListFields() if field.type == field.TYPE_MESSAGE]
        flat = [item for value in inner for item in ([value] if hasattr(value, "ListFields") else value)]
        if not flat or dice.random() < 0.2:
            break
        message = dice.choice(flat)
    fields = message.ListFields()
    if not fields:
        return damaged
    field, value = dice.choice(fields)
    repeated = not hasattr(value, "ListFields") and field.is_repeated
    if repeated and dice.random() < 0.5:
        del value[dice.randrange(len(value))]
    elif field.type in (field.TYPE_INT64, field.TYPE_INT32):
        odd = dice.choice([-1, 0, 1, 2**31 - 1])
        value.append(odd) if repeated else setattr(message, field.name, odd)
    elif repeated:
        value.append(value[0])
    else:
        message.ClearField(field.name)
    return damaged


@pytest.mark.parametrize(
    "build",
    [
        *(models.captured, models.loop, models.local_function, models.quantised, models.shape_arithmetic),
        *hostile.BOMBS.values(),
        *hostile.ENDLESS.values(),
        lambda: hostile.sparse_constant(numpy_helper.from_array(np.ones(4, np.float32), "v")),
        lambda: hostile.adds(hostile.outside("w.bin", offset=0, length=16)),
        lambda: hostile.laughs(4),
    ],
)
def test_whatever_is_damaged_the_gate_answers(home: Path, build: Callable[[], onnx.ModelProto]) -> None:
    dice = random.Random(0)
    proto = build()
    refused = 0
    for _ in range(60):
        damaged = _damaged(proto, dice)
        try:
            gate.check(damaged, home / "evil.onnx")
            gate.check_bytes(damaged)
        except UnsupportedModel:
            refused += 1
    assert refused
