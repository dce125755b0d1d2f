"""ONNX Runtime as an `Engine`.

One session for each range of segments that is used, built at first use and kept. ONNX Runtime cannot run part of a session, and
a chain of one session a segment loses what its optimiser does across the seams, so the graphs of a range are joined first. The
price is memory: each session packs its weights anew. `prepare` only the ranges that will be used.

Measured choices (MobileNetV2 and ResNet-50 on 1.32): all optimisations, since without the blocked layout convolutions take
1.2 to 1.9 times as long; no spinning threads, which cost 1.6 to 3.6 times the CPU; one arena for all sessions of the
process, since one each kept 135 MB over 20 sessions, and none made every tenth run of a first segment take 2.5 times as
long (its pages came fresh from the kernel).

Graphs are joined with a schema of our own, since a device has no `onnx`, and loaded from bytes, so no path of a model is
trusted: weights are found by name in the folder of blobs alone.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from splitinfer._pb.onnx import graph_pb2 as pb
from splitinfer.bundle import Bundle
from splitinfer.engine import Held, Stop
from splitinfer.errors import CorruptBundle, EngineError, InvalidCut, InvalidInput, Stopped
from splitinfer.model import Array, Cut, Model, Tensors

_ORT_ERRORS = (
    state.EngineError,
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.ModelLoaded,
    state.NoModel,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
    ValueError,
)
_CARRIED = frozenset(
    f"tensor({kind})"
    for kind in "bool float16 float double int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()  # noqa: SIM905
)
_FOLDER = "session.model_external_initializers_file_folder_path"
_DISABLED = ["SkipLayerNormFusion"]
"""The fused kernel is slower than its parts (MiniLM: 7 % of a tail), and is used where sizes are known, so in halves only."""
_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL
_AS_REQUESTED = 1  # the arena grows by what is asked for, not by powers of two
_SILENT = 4  # only fatal: a failure is raised, and a run that was stopped is none

# What the runtime says besides its words: a code, the place in its own source, long or short, and where files lie.
_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SIGNATURE = r" [^()]*::[\w~<>]+\((?:[^()]|\([^()]*\))*\)(?: const)?(?: \[with [^\]]*\])?"
_SOURCE = re.compile(rf"/\S+\.(?:cc|h):\d+(?:{_SIGNATURE})? |\b\w+\.(?:cc|h):\d+ \S+ ")
_RUNNING = re.compile(r"Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ")
_PATH = re.compile(r'(\b(?:path|directory)\b[^"\[]*["\[])/[^"\]]*/')


class OrtEngine:
    """Runs ranges of a bundle with ONNX Runtime on the CPU. Thread-safe: threads share the sessions.

    Args:
        bundle: what to run.
        threads: of one run. With 1 a run computes in the thread that calls it.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self._bundle = bundle
        self._threads = threads
        self._ranges: dict[tuple[int, int], _Range] = {}
        self._building = threading.Lock()

    @property
    def model(self) -> Model:
        """What it runs."""
        return self._bundle.model

    @property
    def name(self) -> str:
        """Runtime, version and threads."""
        return f"onnxruntime {ort.__version__} CPU x{self._threads}"

    def hold(self, at: int, tensors: Tensors) -> Held:
        """Takes plain tensors in at cut `at`. Copies only what is not C-contiguous and in native byte order.

        Raises:
            InvalidInput: they are not the tensors of that cut.
            InvalidCut: there is no such cut.
        """
        cut = self.model.cut(at)
        _check(cut, tensors)
        plain = {spec.name: np.asarray(tensors[spec.name], dtype=spec.dtype, order="C") for spec in cut.tensors}
        return _Arrays(at, plain, {})

    def run(self, start: int, stop: int, held: Held, stopper: Stop | None = None) -> Held:
        """Runs segments start..stop-1; builds their session where this is its first run.

        Raises:
            Stopped: the stopper was asked.
            InvalidCut: a segment of the range is not held, or `held` stands elsewhere.
            EngineError: the runtime failed.
        """
        if held.at != start:
            raise InvalidCut(f"cannot run from cut {start}: what is held stands at cut {held.at}")
        if stop == start:
            return held
        loaded = self._range(start, stop)
        before = held.plain()
        made = loaded.run(before, stopper)
        after = {**before, **made}
        outputs = {**held.outputs(), **made}
        return _Arrays(
            stop,
            {spec.name: after[spec.name] for spec in self.model.cuts[stop].tensors},
            {spec.name: outputs[spec.name] for spec in self.model.outputs if spec.name in outputs},
        )

    def prepare(self, start: int, stop: int) -> None:
        """Builds the session of a range ahead of its first run.

        Raises:
            InvalidCut: a segment of the range is not held.
            EngineError: the runtime cannot load it.
        """
        self._range(start, stop)

    def _range(self, start: int, stop: int) -> _Range:
        loaded = self._ranges.get((start, stop))
        if loaded is not None:
            return loaded
        if not 0 <= start < stop <= self.model.n or not self.model.holds_range(start, stop):
            raise InvalidCut(
                f"segments {start}..{stop - 1} are not all held here: this bundle holds {sorted(self.model.holds)}"
            )
        with self._building:
            if (start, stop) not in self._ranges:
                self._ranges[start, stop] = _Range.build(self._bundle, start, stop, self._threads)
            return self._ranges[start, stop]


class Uncut:
    """An ONNX model as it is, to compare a bundle with.

    Args:
        model: a serialised ModelProto.
        folder: where the weights lie that are stored outside it; None where all are inside. The places that the model names
            must have been looked at: not every release of the runtime refuses `..`.

    Raises:
        EngineError: the runtime cannot load it; says why in the runtime's words.
    """

    def __init__(self, model: bytes, folder: Path | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        if folder is not None:
            options.add_session_config_entry(_FOLDER, str(folder.absolute()))
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _ORT_ERRORS as error:
            raise EngineError(f"onnxruntime cannot load the model: {_words(error)}") from error

    def run(self, inputs: Tensors) -> Tensors:
        """All outputs of the model that arrays can carry: no sequences, no strings, no packed or 8-bit floats.

        Raises:
            EngineError: the runtime failed; says why in the runtime's words.
        """
        names = [output.name for output in self._session.get_outputs() if output.type in _CARRIED]
        options = ort.RunOptions()
        options.log_severity_level = _SILENT
        try:
            arrays = self._session.run(names, dict(inputs), options)
        except _ORT_ERRORS as error:
            raise EngineError(f"onnxruntime failed to run the model: {_words(error)}") from error
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}


@cache
def operators() -> frozenset[tuple[str, str]]:
    """The operators that the runtime defines, as (domain, name); the domain of the standard's is ""."""
    return frozenset((schema.domain, schema.name) for schema in state.get_all_operator_schema())


@dataclass(frozen=True, slots=True)
class _Arrays:
    """`Held` as plain arrays: what crosses at the cut, read by the next segment or not, and the outputs made so far."""

    at: int
    tensors: Tensors
    made: Tensors

    def plain(self) -> Tensors:
        return self.tensors

    def outputs(self) -> Tensors:
        return self.made


@dataclass(frozen=True, slots=True)
class _Range:
    """A range of segments, loaded."""

    label: str
    session: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def build(cls, bundle: Bundle, start: int, stop: int, threads: int) -> _Range:
        label = f"segments {start}..{stop - 1}"
        inputs, outputs = _ends(bundle.model, start, stop)
        graph = _join([_read(bundle, i) for i in range(start, stop)], inputs, outputs)
        try:
            session = ort.InferenceSession(
                graph, _options(bundle, threads), providers=["CPUExecutionProvider"], disabled_optimizers=_DISABLED
            )
        except _ORT_ERRORS as error:
            raise EngineError(f"onnxruntime cannot load {label}: build the bundle again, or upgrade onnxruntime") from error
        return cls(label, session, inputs, outputs)

    def run(self, tensors: Tensors, stopper: Stop | None) -> dict[str, Array]:
        options = ort.RunOptions()
        options.log_severity_level = _SILENT

        def terminate() -> None:
            options.terminate = True

        if stopper is not None:
            stopper.when_asked(terminate)
        try:
            arrays = self.session.run(self.outputs, {name: tensors[name] for name in self.inputs}, options)
        except _ORT_ERRORS as error:
            if stopper is not None and stopper.asked:
                raise Stopped(f"{self.label} were stopped") from error
            raise EngineError(
                f"onnxruntime failed in {self.label}: do the dynamic sizes of the inputs fit together?"
            ) from error
        return dict(zip(self.outputs, arrays, strict=True))


def _check(cut: Cut, tensors: Tensors) -> None:
    specs = {spec.name: spec for spec in cut.tensors}
    if tensors.keys() != specs.keys():
        raise InvalidInput(f"cut {cut.index} needs the tensors {sorted(specs)}, got {sorted(tensors)}")
    for name, spec in specs.items():
        array = tensors[name]
        if array.dtype.name != spec.dtype or not spec.fits(array.shape):
            want = ["?" if d is None else d for d in spec.shape]
            raise InvalidInput(f"tensor {name!r}: expected {spec.dtype} {want}, got {array.dtype.name} {list(array.shape)}")


def _options(bundle: Bundle, threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = _share_arena()
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(_FOLDER, str(bundle.blobs.absolute()))
    return options


def _words(error: Exception) -> str:
    """What the runtime says, on one line: no codes, nothing of its source, no path."""
    text = _SOURCE.sub("", _CODE.sub("", " ".join(str(error).split()) + " "))
    return _PATH.sub(r"\1", _RUNNING.sub(r"\1 '\2': ", text)).strip() or type(error).__name__


@cache
def _share_arena() -> bool:
    """Registers the process's arena, once; False where somebody else's allocator is registered already."""
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    try:
        ort.create_and_register_allocator(place, ort.OrtArenaCfg({"arena_extend_strategy": _AS_REQUESTED}))
    except _ORT_ERRORS:
        return False
    return True


def _ends(model: Model, start: int, stop: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a range reads of the cut before it; what it must give: tensors of the cut after it, and outputs of the model."""
    segments = model.segments[start:stop]
    read = {name for segment in segments for name in segment.inputs}
    made = {name for segment in segments for name in segment.outputs}
    inputs = tuple(spec.name for spec in model.cuts[start].tensors if spec.name in read)
    wanted = dict.fromkeys(spec.name for spec in (*model.cuts[stop].tensors, *model.outputs))
    return inputs, tuple(name for name in wanted if name in made)


def _read(bundle: Bundle, index: int) -> pb.Model:
    """The graph of one segment, after a look at where it wants its weights from."""
    model = pb.Model.FromString(bundle.graph(index))
    weights = bundle.weights(index)
    for tensor in model.graph.initializer:
        if tensor.data_location == _EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            nbytes = weights.get(entries.get("location", ""))
            if nbytes is None or entries.get("offset", "0") != "0" or entries.get("length", str(nbytes)) != str(nbytes):
                raise CorruptBundle(f"a weight of segment {index} is none of its blobs: build the bundle again")
    return model


def _join(parts: Sequence[pb.Model], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """One graph out of several that follow each other.

    Each part brings the functions of the whole model, so those of the first will do. Merging graphs appends what our schema
    lists and what it does not; what may come twice is then kept once.
    """
    joined = pb.Model()
    joined.CopyFrom(parts[0])
    for part in parts[1:]:
        joined.graph.MergeFrom(part.graph)
        joined.opset_import.extend(part.opset_import)
    graph = joined.graph
    typed = {info.name: info for info in (*graph.input, *graph.output)}
    _keep(graph.input, [typed[name] for name in inputs])
    _keep(graph.output, [typed[name] for name in outputs])
    _keep(graph.initializer, _once(graph.initializer).values())
    ends = {*inputs, *outputs}
    _keep(graph.value_info, [info for name, info in _once(graph.value_info).items() if name not in ends])
    _keep(joined.opset_import, {opset.domain: opset for opset in joined.opset_import}.values())
    return joined.SerializeToString()


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_N = TypeVar("_N", bound=_Named)


def _once(items: Iterable[_N]) -> Mapping[str, _N]:
    return {item.name: item for item in items}


def _keep(field: Any, items: Iterable[Any]) -> None:
    kept = list(items)
    del field[:]
    field.extend(kept)
