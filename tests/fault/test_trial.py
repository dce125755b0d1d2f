"""Models that crash, hang or want all memory: a child dies, an error says why, and the next request is answered."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitinfer.backends.ort import OrtEngine, Uncut
from splitinfer.build.trial import Limits, Trial
from splitinfer.bundle import Bundle, write
from splitinfer.errors import CorruptBundle, EngineError, InvalidCut, InvalidInput, UnsupportedModel
from splitinfer.model import Tensors
from tests import models
from tests.bundles import long_net, tiny_bundle, tiny_input

FLOAT = TensorProto.FLOAT
IMAGE = {"x": np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)}
WANTED = Uncut(models.chain().SerializeToString()).run(IMAGE)
ROOT = Path(models.__file__).parents[1]

MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], Tensors]] = {
    "chain": (models.chain, IMAGE),
    "an early output": (models.early_output, IMAGE),
    "a constant output": (models.constant_output, IMAGE),
    "If in If": (models.captured, IMAGE),
    "Loop": (models.loop, IMAGE),
    "quantised": (models.quantised, IMAGE),
    "integers as output": (models.two_inputs, {**IMAGE, "z": np.ones((1, 5), np.float32)}),
    "an output of the runtime's own operator": (models.contrib_operator, IMAGE),
    "types that no array carries": (models.sequence_and_half_types, IMAGE),
    "open sides": (models.shape_arithmetic, {"x": np.ones((2, 3, 5, 7), np.float32)}),
}


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    with Trial() as one:
        yield one


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def aborts() -> onnx.ModelProto:
    """A GRU ends the process with SIGABRT where its sequence is empty."""
    weights = [models.weight("w", 1, 12, 3), models.weight("r", 1, 12, 4)]
    node = helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=4)
    return models.model([node], {"x": (FLOAT, ["T", "N", 3])}, {"y": (FLOAT, ["T", 1, "N", 4])}, weights)


EMPTY = {"x": np.zeros((0, 1, 3), np.float32)}


def hangs() -> onnx.ModelProto:
    """A Loop that nothing ends."""
    scalars = [helper.make_tensor_value_info(*spec, []) for spec in (("i", TensorProto.INT64), ("go", 9), ("v", FLOAT))]
    made = [helper.make_tensor_value_info(*spec, []) for spec in (("still", 9), ("next", FLOAT))]
    steps = [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Neg", ["v"], ["next"])]
    node = helper.make_node("Loop", ["", "yes", "x"], ["y"], body=helper.make_graph(steps, "body", scalars, made))
    yes = numpy_helper.from_array(np.array(True), "yes")
    return models.model([node], {"x": (FLOAT, [])}, {"y": (FLOAT, [])}, [yes])


SCALAR = {"x": np.array(1, np.float32)}


def expands() -> onnx.ModelProto:
    """32 GiB out of a few bytes."""
    shape = numpy_helper.from_array(np.array([1 << 33], np.int64), "shape")
    nodes = [helper.make_node("Expand", ["x", "shape"], ["e"], name="bomb"), helper.make_node("ReduceMax", ["e"], ["y"])]
    return models.model(nodes, {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])}, [shape])


def echo(**kinds: int) -> onnx.ModelProto:
    """Gives each input back as an output of the same name in capitals."""
    nodes = [helper.make_node("Identity", [name], [name.upper()]) for name in kinds]
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()]
    outputs = [helper.make_tensor_value_info(name.upper(), kind, None) for name, kind in kinds.items()]
    return helper.make_model(
        helper.make_graph(nodes, "echo", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )


def assert_same(got: Tensors, want: Tensors) -> None:
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


def assert_works(trial: Trial) -> None:
    assert_same(trial.uncut(models.chain().SerializeToString(), None)(IMAGE), WANTED)


def wait_for_end(pid: int, within_s: float) -> bool:
    """Whether a process that is not our child ended in time."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], within_s)[0])
    finally:
        os.close(process)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def open_files() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("what", MODELS)
def test_a_model_gives_the_answer_it_gives_in_this_process(trial: Trial, what: str) -> None:
    make, feed = MODELS[what]
    model = make().SerializeToString()
    assert_same(trial.uncut(model, None)(feed), Uncut(model).run(feed))


def test_weights_beside_the_model_are_found(trial: Trial, tmp_path: Path) -> None:
    onnx.save(models.chain(), tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=16)
    assert (tmp_path / "net.data").stat().st_size
    model = (tmp_path / "net.onnx").read_bytes()
    assert_same(trial.uncut(model, tmp_path)(IMAGE), WANTED)
    with pytest.raises(EngineError, match=r"cannot load the model: .*\Wnet\.data") as refused:
        trial.uncut(model, tmp_path / "elsewhere")
    assert str(tmp_path) not in str(refused.value)


def test_every_kind_of_array_survives(trial: Trial) -> None:
    feed: dict[str, np.ndarray] = {
        "bool": np.array([[True, False, True]]),
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "half": np.array([1.5, -np.inf, np.nan], np.float16),
        "byte": np.arange(256, dtype=np.uint8).reshape(2, 128),
        "strided": np.arange(24, dtype=np.float64).reshape(4, 6)[::2, ::3],
        "turned": np.arange(24, dtype=np.int32).reshape(4, 6).T,
    }
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feed.items()}
    got = trial.uncut(echo(**kinds).SerializeToString(), None)(feed)
    assert_same(got, {name.upper(): array for name, array in feed.items()})


def test_two_models_take_turns(trial: Trial) -> None:
    first = trial.uncut(models.chain().SerializeToString(), None)
    second = trial.uncut(echo(x=FLOAT).SerializeToString(), None)
    assert_same(first(IMAGE), WANTED)
    assert_same(second(SCALAR), {"X": SCALAR["x"]})
    assert_same(first(IMAGE), WANTED)


@pytest.mark.parametrize("cut", range(4))
def test_halves_are_head_and_tail_of_a_cut(trial: Trial, bundle: Bundle, cut: int) -> None:
    engine, n = OrtEngine(bundle), bundle.model.n
    head = engine.run(0, cut, engine.hold(0, tiny_input()))
    tail = engine.run(cut, n, engine.hold(cut, head.plain()))
    assert_same(trial.halves(bundle.path, cut, tiny_input()), {**head.outputs(), **tail.outputs()})


def test_a_chain_gives_all_outputs_and_tells_how_far_it_is(trial: Trial, bundle: Bundle) -> None:
    heard: list[tuple[int, int]] = []
    got = trial.chain(bundle.path, tiny_input(2), lambda done, total: heard.append((done, total)))
    engine = OrtEngine(bundle)
    held, outputs = engine.hold(0, tiny_input(2)), {}
    for index in range(3):
        held = engine.run(index, index + 1, engine.hold(index, held.plain()))
        outputs.update(held.outputs())
    assert_same(got, outputs)
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_another_bundle_takes_the_place_of_the_first(trial: Trial, bundle: Bundle, tmp_path: Path) -> None:
    other = write(tmp_path / "other", long_net(2, 4).draft())
    trial.halves(bundle.path, 1, tiny_input())
    feed = {"x": np.ones((4, 4), np.float32)}
    assert_same(trial.halves(other.path, 1, feed), {"y": feed["x"]})
    assert trial.halves(bundle.path, 1, tiny_input()).keys() == {"early", "logits"}


def test_peaks_grow_with_the_segments_and_hold_their_weights(trial: Trial, bundle: Bundle, tmp_path: Path) -> None:
    long = write(tmp_path / "long", long_net(2, 2048).draft())
    trial.uncut(models.chain().SerializeToString(), None)
    before = trial.pid
    nothing, all_of_it = trial.peaks(long.path, {"x": np.ones((2048, 2048), np.float32)})
    assert nothing == 0
    assert all_of_it is not None
    assert long.nbytes < all_of_it < 10 * long.nbytes
    steps = trial.peaks(bundle.path, tiny_input())
    assert len(steps) == 4
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(steps))
    assert trial.pid == before


def test_a_refusal_of_the_runtime_arrives_in_its_words_and_costs_no_child(trial: Trial) -> None:
    assert_works(trial)
    before = trial.pid
    for model, feed in ((b"no model", {}), (models.chain().SerializeToString(), SCALAR)):
        with pytest.raises(EngineError) as here:
            Uncut(model).run(feed)
        with pytest.raises(EngineError) as there:
            trial.uncut(model, None)(feed)
        assert str(there.value) == str(here.value)
        assert "ONNXRuntimeError" not in str(there.value)
        assert_works(trial)
    assert trial.pid == before


def test_a_wrong_question_is_answered_by_the_error_that_fits(trial: Trial, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="needs the tensors"):
        trial.halves(bundle.path, 1, IMAGE | SCALAR | {"more": SCALAR["x"]})
    with pytest.raises(CorruptBundle):
        trial.halves(tmp_path / "nothing", 1, tiny_input())
    with pytest.raises(InvalidCut):
        trial.halves(bundle.path, 9, tiny_input())
    with pytest.raises(InvalidInput, match="'x': arrays of object cannot be fed"):
        trial.uncut(models.chain().SerializeToString(), None)({"x": np.array(["text"], object)})
    assert_works(trial)


def test_a_crash_costs_a_child(trial: Trial, capfd: pytest.CaptureFixture[str]) -> None:
    run = trial.uncut(aborts().SerializeToString(), None)
    before = trial.pid
    assert before is not None
    with pytest.raises(UnsupportedModel, match=r"onnxruntime crashed \(SIGABRT\) while it ran the model: give other inputs"):
        run(EMPTY)
    assert gone(before)
    assert run({"x": np.ones((2, 1, 3), np.float32)})["y"].shape == (2, 1, 1, 4)
    assert_works(trial)
    assert capfd.readouterr() == ("", "")


def test_a_hang_costs_a_child() -> None:
    with Trial(Limits(seconds=1)) as trial:
        run = trial.uncut(hangs().SerializeToString(), None)
        before = trial.pid
        assert before is not None
        with pytest.raises(UnsupportedModel, match=r"took longer than 1 s while it ran the model: give smaller inputs"):
            run(SCALAR)
        assert gone(before)
        assert_works(trial)


def test_an_operator_that_wants_all_memory_is_refused() -> None:
    with Trial(Limits(memory_bytes=4 << 30)) as trial:
        run = trial.uncut(expands().SerializeToString(), None)
        with pytest.raises(EngineError, match="Expand 'bomb': Failed to allocate memory"):
            run({"x": np.ones(1, np.float32)})
        assert_works(trial)


def test_inputs_beyond_the_memory_limit_cost_a_child() -> None:
    with Trial(Limits(memory_bytes=2 << 30)) as trial:
        run = trial.uncut(echo(x=FLOAT).SerializeToString(), None)
        with pytest.raises(UnsupportedModel, match=r"more memory than the 2\.15 GB .* while it ran the model: give smaller"):
            run({"x": np.zeros(1 << 29, np.float32)})
        assert_same(run(SCALAR), {"X": SCALAR["x"]})


def test_a_child_that_was_killed_while_it_rested_is_replaced(trial: Trial) -> None:
    run = trial.uncut(models.chain().SerializeToString(), None)
    before = trial.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert_same(run(IMAGE), WANTED)
    assert trial.pid != before


def test_a_child_that_was_killed_while_it_worked_is_reported(trial: Trial) -> None:
    run = trial.uncut(hangs().SerializeToString(), None)
    pid = trial.pid
    assert pid is not None

    def kill_when_busy() -> None:
        idle = cpu_ticks(pid)
        while cpu_ticks(pid) <= idle:
            os.sched_yield()
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_when_busy)
    killer.start()
    with pytest.raises(UnsupportedModel, match=r"ended by the system \(SIGKILL\).* while it ran the model"):
        run(SCALAR)
    killer.join()
    assert_works(trial)


def cpu_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def test_a_listener_that_raises_leaves_no_half_read_answer(trial: Trial, bundle: Bundle) -> None:
    def tired(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial.chain(bundle.path, tiny_input(), tired)
    assert trial.pid is None
    assert_works(trial)


def test_nothing_is_left_behind() -> None:
    files, threads = open_files(), threading.active_count()
    with Trial(Limits(memory_bytes=8 << 30)) as trial:
        run = trial.uncut(aborts().SerializeToString(), None)
        pids = [trial.pid]
        with pytest.raises(UnsupportedModel):
            run(EMPTY)
        assert_works(trial)
        pids.append(trial.pid)
    assert trial.pid is None
    assert all(pid is not None and gone(pid) for pid in pids)
    assert open_files() == files
    assert threading.active_count() == threads


def test_no_module_comes_out_of_the_folder_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('foreign code')")
    monkeypatch.chdir(tmp_path)
    with Trial() as trial:
        assert_works(trial)


@pytest.mark.parametrize("program", ["false", "nowhere/python"])
def test_a_child_that_cannot_start_says_so_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    files = open_files()
    monkeypatch.setattr(sys, "executable", shutil.which(program) or program)
    with Trial() as trial:
        for _ in range(2):
            with pytest.raises(EngineError, match="cannot be started in a process of its own: see that there is memory"):
                trial.uncut(b"", None)
        assert trial.pid is None
    assert open_files() == files


def test_what_is_closed_stays_closed() -> None:
    with Trial() as trial:
        run = trial.uncut(models.chain().SerializeToString(), None)
    with pytest.raises(ValueError, match="closed"):
        run(IMAGE)
    assert trial.pid is None


@pytest.mark.parametrize("busy", [False, True])
def test_a_child_does_not_outlive_whoever_started_it(tmp_path: Path, busy: bool) -> None:
    model = tmp_path / "net.onnx"
    model.write_bytes(hangs().SerializeToString())
    program = f"""
        import os, signal, threading, time, numpy as np
        from pathlib import Path
        from splitinfer.build.trial import Limits, Trial
        trial = Trial(Limits(seconds=1))
        run = trial.uncut(Path({str(model)!r}).read_bytes(), None)
        def die():
            ticks = lambda: int(Path(f"/proc/{{trial.pid}}/stat").read_text().rpartition(")")[2].split()[11])
            idle = ticks()
            while {busy} and ticks() <= idle:
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        print(trial.pid, flush=True)
        threading.Thread(target=die).start()
        if {busy}:
            run({{"x": np.array(1, np.float32)}})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert wait_for_end(int(done.stdout), within_s=20)
