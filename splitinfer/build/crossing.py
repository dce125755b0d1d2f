"""What is to be said of each tensor, should it cross: bytes, whether it may be coded, and what stands against it.

Knows the graph, no order and no cut.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from splitinfer.build.graph import DEQUANTISE, Graph, Step
from splitinfer.model import TensorSpec

QUANTISE = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})
ACTIVATIONS = frozenset(
    "Relu Clip LeakyRelu PRelu Sigmoid Tanh HardSigmoid HardSwish Elu Selu Gelu BatchNormalization".split()  # noqa: SIM905
)
FUSED_WITH_THEM = frozenset("Conv ConvTranspose Gemm MatMul BatchNormalization Add".split())  # noqa: SIM905
PACKED_NUMBER_BYTES = 2
"""Ids, indices and lengths are small numbers in wide integers: zstd leaves two bytes of each or less (token ids of MiniLM)."""
_KINDS = {"sequence_type": "a sequence", "optional_type": "optional", "map_type": "a map", "sparse_tensor_type": "sparse"}


@dataclass(frozen=True, slots=True)
class Crossing:
    """One tensor, should it cross.

    Attributes:
        nbytes: of the plain tensor at batch 1; 0 where unknown.
        lossless: no codec may change it.
        packed_bytes: what a byte compressor leaves of it where it is lossless; 0 where it is not.
        splits_fusion: the runtime computes its maker and its reader in one kernel.
        hidden: it belongs to the preprocessing.
        why_not: why it cannot cross; None where it can.
    """

    nbytes: int
    lossless: bool
    packed_bytes: int
    splits_fusion: bool
    hidden: bool
    why_not: str | None


def crossings(graph: Graph, hidden: Collection[str] = ()) -> Mapping[str, Crossing]:
    """Every tensor that a step makes or reads.

    Args:
        graph: what is cut.
        hidden: tensors of the preprocessing.
    """
    ends = _Ends(graph)
    names = dict.fromkeys((*graph.inputs, *(name for step in graph.steps for name in (*step.reads, *step.makes))))
    found = {}
    for name in names:
        spec = graph.spec(name)
        found[name] = Crossing(
            nbytes=graph.nbytes(name),
            lossless=spec is not None and spec.lossless_only,
            packed_bytes=_packed(graph.nbytes(name), spec),
            splits_fusion=ends.fused(name),
            hidden=name in hidden,
            why_not=_objection(graph, ends, name),
        )
    return found


def _packed(nbytes: int, spec: TensorSpec | None) -> int:
    if spec is None or not spec.lossless_only:
        return 0
    return min(nbytes, nbytes // spec.itemsize * PACKED_NUMBER_BYTES)


def _objection(graph: Graph, ends: _Ends, name: str) -> str | None:
    if graph.spec(name) is None:
        return _uncarried(graph, name)
    if 0 in (graph.shape(name) or ()):
        return f"{name!r} was empty on trial, and nothing empty crosses: give samples where it is not"
    if ends.quantised_next(name):
        return f"{name!r} is quantised next: cut after that, where a quarter of the bytes cross and nothing is lost"
    return None


def _uncarried(graph: Graph, name: str) -> str:
    value = graph.values.get(name)
    kind = None if value is None else value.type.WhichOneof("value")
    if kind in _KINDS:
        return f"{name!r} is {_KINDS[kind]}, and only tensors cross"
    if name in graph.unsettled:
        return f"{name!r} may have more or fewer dimensions from run to run: cut before that is decided"
    if graph.elem_type(name) is None:
        return f"the type of {name!r} is unknown, or no array can carry it"
    return f"{name!r} holds text or another type that no array can carry"


class _Ends:
    """Who makes and who reads each tensor, recomputed nodes among them."""

    def __init__(self, graph: Graph) -> None:
        self._outputs = set(graph.outputs)
        self._makers: dict[str, Step] = {}
        self._readers: dict[str, list[Step]] = {}
        for step in (*graph.recomputed, *graph.steps):
            self._makers.update(dict.fromkeys(step.makes, step))
            for name in dict.fromkeys((*step.node.input, *step.reads)):
                self._readers.setdefault(name, []).append(step)

    def fused(self, name: str) -> bool:
        """Whether the runtime computes the maker and the only reader of a tensor in one kernel."""
        readers = self._readers.get(name, [])
        if name not in self._makers or len(readers) != 1:
            return False
        return self._makers[name].node.op_type in FUSED_WITH_THEM and readers[0].node.op_type in ACTIVATIONS

    def quantised_next(self, name: str) -> bool:
        """Whether a tensor, made from quantised ones, is only there to be quantised: the runtime never makes it.

        It computes the float node between DequantizeLinear and QuantizeLinear in integers, an activation included.
        """
        maker = self._makers.get(name)
        if maker is None or name in self._outputs or not self._from_quantised(maker):
            return False
        readers = self._readers.get(name, [])
        if len(readers) == 1 and readers[0].node.op_type in ACTIVATIONS:
            readers = [step for made in readers[0].makes for step in self._readers.get(made, [])]
        return bool(readers) and all(step.node.op_type in QUANTISE for step in readers)

    def _from_quantised(self, step: Step) -> bool:
        """Whether a node reads the float side of a DequantizeLinear, itself or through an activation."""
        makers = [self._makers[name] for name in step.node.input if name in self._makers]
        if any(maker.node.op_type == DEQUANTISE for maker in makers):
            return True
        return step.node.op_type in ACTIVATIONS and any(self._from_quantised(maker) for maker in makers)
