"""all-MiniLM-L6-v2 (Wang et al. 2020; sentence-transformers), a BERT of six layers, as an ONNX graph with its trained weights.

The graph is what exporters make of it: sizes are read from the tensors (Shape, Gather, Concat, Reshape) wherever the heads of
the attention are taken apart and put together, constants are nodes, Gelu is made of Erf.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from splitinfer.bench.zoo import installed, safetensors
from splitinfer.model import Array, Tensors

if TYPE_CHECKING:
    import onnx

    ModelProto: TypeAlias = onnx.ModelProto

WIDTH, LAYERS, HEADS = 384, 6, 12
_EPSILON = 1e-12
_MASKED = -10000.0
_WORD = re.compile(r"\w+|[^\w\s]")


def minilm() -> ModelProto:
    """The encoder with mean pooling and L2 norm.

    Inputs "input_ids" and "attention_mask": int64 [N, T], T up to 512. Output "embedding": float32 [N, 384], of length 1.

    Raises:
        MissingPackage: the package with the weights is not installed.
    """
    net = _Net(safetensors.read(_packed("model.safetensors")))
    mask = net.node("Cast", ["attention_mask"], to=1)
    bias = net.node("Unsqueeze", [mask, net.constant([1, 2])])
    bias = net.node("Mul", [net.node("Sub", [net.constant(1.0), bias]), net.constant(_MASKED)])
    x = _embedded(net)
    for index in range(LAYERS):
        x = _layer(net, x, bias, f"encoder.layer.{index}")
    _pooled(net, x, mask)
    return net.model()


def tokens(texts: Sequence[str]) -> dict[str, Array]:
    """Texts as inputs of the network: words in pieces of the vocabulary, padded to the longest text.

    Raises:
        MissingPackage: the package with the vocabulary is not installed.
    """
    rows = [[_vocabulary()["[CLS]"], *_pieces(text), _vocabulary()["[SEP]"]] for text in texts]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = row
    return {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}


def samples() -> Tensors:
    """Some sentences of different length, the first two alike."""
    return tokens(
        (
            "A man is playing a guitar on the street.",
            "Someone plays the guitar outside.",
            "The stock market fell sharply after the announcement this morning.",
            "Rain.",
        )
    )


def _embedded(net: _Net) -> str:
    """Words, the one type of token there is, and positions 0 .. T - 1, normalised."""
    words = net.node("Gather", [net.weight("embeddings.word_embeddings.weight"), "input_ids"])
    types = net.weight("embeddings.token_type_embeddings.weight", rows=1)
    positions = net.weight("embeddings.position_embeddings.weight")
    length = net.node("Unsqueeze", [net.size("input_ids", 1), net.constant([0])])
    positions = net.node("Slice", [positions, net.constant([0]), length, net.constant([0])])
    x = net.node("Add", [net.node("Add", [words, types]), positions])
    return net.norm(x, "embeddings.LayerNorm")


def _layer(net: _Net, x: str, bias: str, name: str) -> str:
    query, key, value = (_heads(net, net.linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value"))
    scores = net.node("MatMul", [query, net.node("Transpose", [key], perm=[0, 1, 3, 2])])
    scores = net.node("Add", [net.node("Div", [scores, net.constant(float(np.sqrt(WIDTH // HEADS)))]), bias])
    mixed = net.node("MatMul", [net.node("Softmax", [scores], axis=-1), value])
    mixed = net.node("Transpose", [mixed], perm=[0, 2, 1, 3])
    mixed = net.reshape(mixed, (net.size(mixed, 0), net.size(mixed, 1)), [WIDTH])
    attended = net.node("Add", [net.linear(mixed, f"{name}.attention.output.dense"), x])
    attended = net.norm(attended, f"{name}.attention.output.LayerNorm")
    wide = _gelu(net, net.linear(attended, f"{name}.intermediate.dense"))
    return net.norm(net.node("Add", [net.linear(wide, f"{name}.output.dense"), attended]), f"{name}.output.LayerNorm")


def _heads(net: _Net, x: str) -> str:
    """[N, T, 384] -> [N, 12, T, 32]."""
    split = net.reshape(x, (net.size(x, 0), net.size(x, 1)), [HEADS, WIDTH // HEADS])
    return net.node("Transpose", [split], perm=[0, 2, 1, 3])


def _gelu(net: _Net, x: str) -> str:
    """Half of x * (1 + erf(x / sqrt 2))."""
    error = net.node("Erf", [net.node("Div", [x, net.constant(float(np.sqrt(2)))])])
    return net.node("Mul", [net.node("Mul", [x, net.node("Add", [error, net.constant(1.0)])]), net.constant(0.5)])


def _pooled(net: _Net, x: str, mask: str) -> None:
    """The mean over the tokens that are there, divided by its length."""
    spread = net.node("Unsqueeze", [mask, net.constant([2])])
    spread = net.node("Expand", [spread, net.node("Shape", [x])])
    total = net.node("ReduceSum", [net.node("Mul", [x, spread]), net.constant([1])], keepdims=0)
    number = net.node("ReduceSum", [spread, net.constant([1])], keepdims=0)
    mean = net.node("Div", [total, net.node("Clip", [number, net.constant(1e-9)])])
    length = net.node("Clip", [net.node("ReduceL2", [mean], axes=[1], keepdims=1), net.constant(1e-12)])
    net.node("Div", [mean, net.node("Expand", [length, net.node("Shape", [mean])])], output="embedding")


class _Net:
    """An ONNX graph that grows node by node. Names are numbered, as exporters do it."""

    def __init__(self, state: Mapping[str, Array]) -> None:
        self._state = state
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._numbers = count()

    def node(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Adds a node with one output."""
        from onnx import helper

        name = f"{op}_{next(self._numbers)}"
        self._nodes.append(helper.make_node(op, inputs, [output or f"{name}_output"], name=name, **attributes))
        return self._nodes[-1].output[0]

    def constant(self, value: float | int | list[int]) -> str:
        """Adds a Constant: float32 for a float, int64 for the rest."""
        from onnx import numpy_helper

        array = np.array(value, np.float32 if isinstance(value, float) else np.int64)
        return self.node("Constant", [], value=numpy_helper.from_array(array))

    def weight(self, name: str, turned: bool = False, rows: int | None = None) -> str:
        """Adds a weight of the state: its first rows, or transposed as MatMul wants it."""
        from onnx import numpy_helper

        array = self._state[name][:rows]
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array.T if turned else array), name)
        return name

    def size(self, x: str, axis: int) -> str:
        """A dimension, read from the tensor."""
        return self.node("Gather", [self.node("Shape", [x]), self.constant(axis)], axis=0)

    def reshape(self, x: str, read: Sequence[str], known: Sequence[int]) -> str:
        """To dimensions that were read, followed by known ones."""
        axes = [self.node("Unsqueeze", [dim, self.constant([0])]) for dim in read]
        shape = self.node("Concat", [*axes, *(self.constant([dim]) for dim in known)], axis=0)
        return self.node("Reshape", [x, shape])

    def linear(self, x: str, name: str) -> str:
        """MatMul and Add."""
        product = self.node("MatMul", [x, self.weight(f"{name}.weight", turned=True)])
        return self.node("Add", [self.weight(f"{name}.bias"), product])

    def norm(self, x: str, name: str) -> str:
        """LayerNormalization over the last axis."""
        parts = [self.weight(f"{name}.{part}") for part in ("weight", "bias")]
        return self.node("LayerNormalization", [x, *parts], axis=-1, epsilon=_EPSILON)

    def model(self) -> ModelProto:
        """The graph so far, checked."""
        import onnx
        from onnx import TensorProto, helper

        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["N", "T"]) for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", WIDTH])
        graph = helper.make_graph(self._nodes, "minilm", inputs, [output], list(self._weights.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="splitinfer")
        onnx.checker.check_model(model, full_check=True)
        return model


def _packed(name: str) -> bytes:
    """A file of the archive that the package carries."""
    with zipfile.ZipFile(installed.file("all_minilm_l6_v2", "model.zip")) as archive:
        return archive.read(name)


@cache
def _vocabulary() -> dict[str, int]:
    found: dict[str, int] = json.loads(_packed("tokenizer.json"))["model"]["vocab"]
    return found


def _pieces(text: str) -> list[int]:
    """WordPiece: lower case, no accents; each word by the longest pieces from its start, or unknown."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    return [piece for word in _WORD.findall(plain) for piece in _word(word)]


def _word(word: str) -> list[int]:
    pieces, at = [], 0
    while at < len(word):
        starts = (("##" if at else "") + word[at:end] for end in range(len(word), at, -1))
        piece = next((start for start in starts if start in _vocabulary()), None)
        if piece is None:
            return [_vocabulary()["[UNK]"]]
        pieces.append(_vocabulary()[piece])
        at += len(piece) - (2 if at else 0)
    return pieces
