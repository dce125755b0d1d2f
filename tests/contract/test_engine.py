"""What every engine promises: ranges compose, what is held stays valid, nothing is lost, and a run can be stopped."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from splitinfer.backends.ort import OrtEngine
from splitinfer.bundle import Bundle, write
from splitinfer.device.slowed import Slowed
from splitinfer.engine import Engine, Held, Stop
from splitinfer.errors import CorruptBundle, EngineError, InvalidCut, InvalidInput, Stopped
from tests.bundles import Net, long_net, tiny_bundle, tiny_input, tiny_net

ENGINES = {
    "ort": OrtEngine,
    "ort, two threads": lambda bundle: OrtEngine(bundle, threads=2),
    "slowed ort": lambda bundle: Slowed(OrtEngine(bundle), 2),
}
RANGES = list(combinations(range(4), 2))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def long_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write(tmp_path_factory.mktemp("bundles") / "long", long_net().draft())


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, bundle: Bundle) -> Engine:
    return ENGINES[request.param](bundle)


@pytest.fixture(params=ENGINES)
def long_engine(request: pytest.FixtureRequest, long_bundle: Bundle) -> Engine:
    return ENGINES[request.param](long_bundle)


@pytest.fixture(scope="module")
def whole() -> ort.InferenceSession:
    return ort.InferenceSession(tiny_net().whole(), providers=["CPUExecutionProvider"])


def answer(session: ort.InferenceSession, inputs: dict) -> dict:
    names = ["early", "logits"]
    return dict(zip(names, session.run(names, inputs), strict=True))


def assert_same(got: dict, want: dict) -> None:
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].shape == array.shape
        assert np.abs(got[name] - array).max() <= 1e-4 * np.abs(array).max(), name


class Watched(Stop):
    """A stop that says when a run hangs on to it."""

    def __init__(self) -> None:
        super().__init__()
        self.hooked = threading.Event()

    def when_asked(self, hook) -> None:
        super().when_asked(hook)
        self.hooked.set()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("start", "stop"), RANGES)
def test_every_way_of_ranges_equals_the_whole_model(engine: Engine, whole, start: int, stop: int, batch: int) -> None:
    inputs = tiny_input(batch)
    held = engine.hold(0, inputs)
    for i, j in [(0, start), (start, stop), (stop, engine.model.n)]:
        held = engine.run(i, j, held)
        assert held.at == j
    assert_same(dict(held.outputs()), answer(whole, inputs))


@pytest.mark.parametrize("cut", range(3))
def test_head_here_and_tail_there_give_every_output_once(engine: Engine, bundle: Bundle, whole, cut: int) -> None:
    inputs = tiny_input()
    head = engine.run(0, cut, engine.hold(0, inputs))
    there = OrtEngine(bundle)
    tail = there.run(cut, 3, there.hold(cut, head.plain()))
    assert not head.outputs().keys() & tail.outputs().keys()
    assert_same({**head.outputs(), **tail.outputs()}, answer(whole, inputs))


def test_plain_tensors_are_those_of_the_cut(engine: Engine) -> None:
    held = engine.hold(0, tiny_input(2))
    for cut in engine.model.cuts[1:]:
        held = engine.run(cut.index - 1, cut.index, held)
        plain = held.plain()
        assert list(plain) == [spec.name for spec in cut.tensors]
        for spec in cut.tensors:
            array = plain[spec.name]
            assert array.dtype == spec.dtype
            assert spec.fits(array.shape)
            assert array.flags.c_contiguous


def test_a_tensor_that_a_segment_does_not_read_passes_unchanged(engine: Engine) -> None:
    before = engine.run(0, 1, engine.hold(0, tiny_input()))
    after = engine.run(1, 2, before)
    assert "gate" not in engine.model.segments[1].inputs
    np.testing.assert_array_equal(after.plain()["gate"], before.plain()["gate"])


def test_an_early_output_survives_later_ranges(engine: Engine, whole) -> None:
    inputs = tiny_input()
    held = engine.run(0, 1, engine.hold(0, inputs))
    assert list(held.outputs()) == ["early"]
    end = engine.run(2, 3, engine.run(1, 2, held))
    assert list(end.outputs()) == ["early", "logits"]
    assert_same(dict(end.outputs()), answer(whole, inputs))


def test_a_request_resumes_from_what_was_held_before(engine: Engine) -> None:
    held = engine.run(0, 1, engine.hold(0, tiny_input()))
    kept = {name: array.copy() for name, array in held.plain().items()}
    first = engine.run(1, 3, held).outputs()
    for name, array in held.plain().items():
        np.testing.assert_array_equal(array, kept[name])
    assert held.at == 1
    assert_same(dict(engine.run(1, 3, held).outputs()), dict(first))


def test_an_empty_range_changes_nothing(engine: Engine) -> None:
    held = engine.hold(0, tiny_input())
    assert engine.run(0, 0, held).at == 0


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(tiny_input(2)["x"]),
        tiny_input(4)["x"][::2],
        tiny_input(2)["x"].astype(">f4"),
    ],
    ids=["fortran order", "strided", "foreign byte order"],
)
def test_any_memory_layout_is_taken(engine: Engine, whole, array: np.ndarray) -> None:
    held = engine.hold(0, {"x": array})
    assert held.plain()["x"].flags.c_contiguous
    plain = {"x": np.ascontiguousarray(array, dtype=np.float32)}
    assert_same(dict(engine.run(0, 3, held).outputs()), answer(whole, plain))


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"y": tiny_input()["x"]},
        {**tiny_input(), "y": tiny_input()["x"]},
        {"x": tiny_input()["x"].astype(np.float64)},
        {"x": tiny_input()["x"][:, :2]},
        {"x": tiny_input()["x"][0]},
    ],
    ids=["none", "other name", "one too many", "dtype", "shape", "rank"],
)
def test_wrong_inputs_are_refused(engine: Engine, tensors: dict) -> None:
    with pytest.raises(InvalidInput):
        engine.hold(0, tensors)


@pytest.mark.parametrize("cut", [-1, 4])
def test_there_is_no_such_cut(engine: Engine, cut: int) -> None:
    with pytest.raises(InvalidCut):
        engine.hold(cut, tiny_input())


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (1, 2), (0, -1)])
def test_ranges_that_cannot_be_run_are_refused(engine: Engine, start: int, stop: int) -> None:
    with pytest.raises(InvalidCut):
        engine.run(start, stop, engine.hold(0, tiny_input()))


def test_batches_that_disagree_are_an_engine_error(engine: Engine) -> None:
    one, two = (engine.run(0, 1, engine.hold(0, tiny_input(batch))).plain() for batch in (2, 3))
    with pytest.raises(EngineError) as caught:
        engine.run(1, 3, engine.hold(1, {"a": one["a"], "gate": two["gate"]}))
    assert not isinstance(caught.value, Stopped)
    assert "ONNXRuntimeError" not in str(caught.value)


def test_the_name_says_what_a_profile_belongs_to(bundle: Bundle) -> None:
    assert OrtEngine(bundle, threads=2).name == f"onnxruntime {ort.__version__} CPU x2"
    assert Slowed(OrtEngine(bundle), 8).name == f"onnxruntime {ort.__version__} CPU x1 slowed x8"


def test_a_long_run_stops_when_asked_and_the_engine_goes_on(long_engine: Engine) -> None:
    held = long_engine.hold(0, {"x": np.ones((512, 512), np.float32)})
    stopper = Watched()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(long_engine.run, 0, 1, held, stopper)
        assert stopper.hooked.wait(60)
        threading.Event().wait(0.05)  # into the middle of it; what is asserted holds at any moment
        stopper.ask()
        with pytest.raises(Stopped):
            running.result()
    again = Watched()
    again.ask()
    with pytest.raises(Stopped):
        long_engine.run(0, 1, held, again)


def test_stopping_one_run_leaves_others_alone(engine: Engine, whole) -> None:
    asked = Stop()
    asked.ask()
    held = engine.hold(0, tiny_input())
    with pytest.raises(Stopped):
        engine.run(0, 3, held, asked)
    assert_same(dict(engine.run(0, 3, held, Stop()).outputs()), answer(whole, tiny_input()))


def test_eight_threads_share_an_engine(engine: Engine, whole) -> None:
    def infer(seed: int) -> tuple[dict, Held]:
        inputs = tiny_input(1 + seed % 3, seed)
        held = engine.hold(0, inputs)
        for i, j in [(0, 1 + seed % 2), (1 + seed % 2, 3)]:
            held = engine.run(i, j, held)
        return inputs, held

    with ThreadPoolExecutor(8) as pool:
        for inputs, held in pool.map(infer, range(64)):
            assert_same(dict(held.outputs()), answer(whole, inputs))


def test_threads_that_want_the_same_range_build_it_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, built, ready = OrtEngine(bundle), [], threading.Barrier(8)
    real = ort.InferenceSession

    def counted(*args, **options):
        built.append(args)
        threading.Event().wait(0.1)  # time for the others to come in, if they could
        return real(*args, **options)

    monkeypatch.setattr(ort, "InferenceSession", counted)

    def run(_: int) -> None:
        ready.wait()
        engine.run(0, 3, engine.hold(0, tiny_input()))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    assert len(built) == 1


def test_a_prepared_range_is_not_built_again(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OrtEngine(bundle)
    engine.prepare(1, 3)
    held = engine.run(0, 1, engine.hold(0, tiny_input()))
    monkeypatch.delattr(ort, "InferenceSession")
    engine.run(1, 3, held)


def test_a_device_that_holds_the_head_runs_the_head_only(tmp_path, whole) -> None:
    full = tiny_bundle(tmp_path / "b")
    (full.blobs / full.model.segments[2].sha256).unlink()
    engine = OrtEngine(Bundle.open(full.path))
    held = engine.run(0, 2, engine.hold(0, tiny_input()))
    np.testing.assert_allclose(held.outputs()["early"], answer(whole, tiny_input())["early"], rtol=1e-5)
    with pytest.raises(InvalidCut, match="held"):
        engine.run(2, 3, held)
    with pytest.raises(InvalidCut, match="held"):
        engine.prepare(0, 3)


@pytest.mark.parametrize("location", ["../info.json", "0" * 64, ""])
def test_a_weight_that_is_no_blob_of_the_segment_is_refused(tmp_path, location: str) -> None:
    draft = tiny_net().draft()
    model = onnx.ModelProto.FromString(draft.segments[1].graph)
    del model.graph.initializer[0].external_data[:]
    model.graph.initializer[0].external_data.add(key="location", value=location)
    hostile = replace(draft.segments[1], graph=model.SerializeToString())
    segments = (draft.segments[0], hostile, draft.segments[2])
    engine = OrtEngine(write(tmp_path / "b", tiny_net().draft(segments=segments)))
    with pytest.raises(CorruptBundle, match="none of its blobs"):
        engine.prepare(0, 3)


def test_a_graph_that_the_runtime_cannot_load_is_an_engine_error(tmp_path) -> None:
    net = tiny_net()
    broken = [node.__class__.FromString(node.SerializeToString()) for node in net.segments[0]]
    broken[1].op_type = "NoSuchOperator"
    bad = Net("bad", net.inputs, net.outputs, net.cuts, (tuple(broken), *net.segments[1:]), net.weights)
    bundle = write(tmp_path / "b", bad.draft())
    with pytest.raises(EngineError, match=r"cannot load segments 0\.\.0"):
        OrtEngine(bundle).prepare(0, 1)


def test_functions_of_the_model_come_once_when_graphs_are_joined(tmp_path, whole) -> None:
    function = onnx.helper.make_function(
        "local", "Rectify", ["i"], ["o"], [onnx.helper.make_node("Relu", ["i"], ["o"])], [onnx.helper.make_opsetid("", 17)]
    )
    draft = tiny_net().draft()
    segments = []
    for segment in draft.segments:
        model = onnx.ModelProto.FromString(segment.graph)
        model.functions.append(function)
        model.opset_import.append(onnx.helper.make_opsetid("local", 1))
        for node in model.graph.node:
            if node.op_type == "Relu":
                node.op_type, node.domain = "Rectify", "local"
        segments.append(replace(segment, graph=model.SerializeToString()))
    engine = OrtEngine(write(tmp_path / "b", replace(draft, segments=tuple(segments))))
    outputs = engine.run(0, 3, engine.hold(0, tiny_input())).outputs()
    assert_same(dict(outputs), answer(whole, tiny_input()))


def test_a_slowed_engine_does_not_stretch_getting_ready(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept = [0.0], []
    monkeypatch.setattr("splitinfer.device.slowed.time.thread_time", lambda: clock[0])
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: bool(slept.append(timeout)))
    real = ort.InferenceSession

    def slow_to_load(*args, **options):
        clock[0] += 10.0
        return real(*args, **options)

    monkeypatch.setattr(ort, "InferenceSession", slow_to_load)
    engine = Slowed(OrtEngine(bundle), 8)
    engine.run(0, 1, engine.hold(0, tiny_input()))
    assert clock == [10.0]
    assert slept == [0.0]


class Busy:
    """An engine whose runs cost a known CPU time: the clock of the test."""

    def __init__(self, inner: Engine, clock: list[float], cost_s: float) -> None:
        self.inner, self.clock, self.cost_s = inner, clock, cost_s
        self.model, self.name, self.hold, self.prepare = inner.model, inner.name, inner.hold, inner.prepare

    def run(self, start: int, stop: int, held: Held, stopper: Stop | None = None) -> Held:
        self.clock[0] += self.cost_s
        return self.inner.run(start, stop, held)


def test_a_slowed_engine_sleeps_factor_less_one_times_what_was_computed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, slept = [100.0], []
    monkeypatch.setattr("splitinfer.device.slowed.time.thread_time", lambda: clock[0])
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: bool(slept.append(timeout)))
    engine = Slowed(Busy(OrtEngine(bundle), clock, cost_s=0.5), 8)
    engine.run(0, 1, engine.hold(0, tiny_input()))
    assert slept == [3.5]


def test_a_slowed_engine_is_woken_from_its_sleep(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("splitinfer.device.slowed.time.thread_time", lambda: clock[0])
    engine = Slowed(Busy(OrtEngine(bundle), clock, cost_s=3600.0), 2)
    stopper = Watched()
    with ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(engine.run, 0, 1, engine.hold(0, tiny_input()), stopper)
        assert stopper.hooked.wait(60)
        stopper.ask()
        with pytest.raises(Stopped):
            sleeping.result()


@pytest.mark.parametrize("factor", [0.5, 0, -1, float("nan")])
def test_a_device_cannot_be_slowed_to_be_faster(bundle: Bundle, factor: float) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Slowed(OrtEngine(bundle), factor)
