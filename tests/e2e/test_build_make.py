"""A build as a whole: cuts that are wrong are left out, and what fails leaves nothing behind.

One child runs the models of all tests. Where it is to lie or to crash at a cut, it is told so.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from splitinfer.bench.zoo import drawn
from splitinfer.build import BuildOptions, build
from splitinfer.bundle import Bundle
from splitinfer.errors import EngineError, InvalidCut, SplitInferError, UnsupportedModel
from splitinfer.model import Tensors
from tests import graphs, models
from tests.cutting import KeptTrial, one_child

FOUR = ("load", "cut", "check", "profile")
"""The stages of a build without samples."""


@pytest.fixture(scope="module")
def kept() -> Iterator[KeptTrial]:
    with one_child() as child:
        yield child


@pytest.fixture
def child(kept, monkeypatch) -> Faults:
    """The child, which answers as it should until it is told otherwise."""
    faults = Faults()
    halves = kept.halves

    def run(bundle: Path, cut: int, feed: Tensors) -> Tensors:
        name = Bundle.open(bundle).model.cuts[cut].name
        faults.asked.append(name)
        if name in faults.crashes:
            raise UnsupportedModel(f"onnxruntime crashed (SIGSEGV) while it ran cut {cut}")
        answer = halves(bundle, cut, feed)
        return {key: array + (name in faults.lies) for key, array in answer.items()}

    monkeypatch.setattr(kept, "halves", run)
    return faults


class Faults:
    """Names of the cuts at which the child crashes, or gives another answer; and of those it was asked for."""

    def __init__(self) -> None:
        self.crashes: set[str] = set()
        self.lies: set[str] = set()
        self.asked: list[str] = []


def names(bundle: Bundle) -> list[str]:
    return [cut.name for cut in bundle.model.cuts]


def built(folder: Path, proto: onnx.ModelProto | None = None, **options: object) -> Bundle:
    path = models.save(proto or models.chain(), folder)
    return build(path, folder / "bundle", BuildOptions(**{"cuts": "all", **options}))


# --- cuts that are wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lies", "crashes"])
def test_an_inner_cut_that_is_wrong_is_left_out(child, fault, tmp_path):
    getattr(child, fault).add("b")
    assert names(built(tmp_path)) == ["x", "a", "c", "d", "y_pooled", "y_flat", "end"]


def test_the_reason_stands_in_the_bundle(child, tmp_path):
    child.crashes.add("b")
    child.lies.add("c")
    reasons = {place.id: place.why for place in built(tmp_path).boundaries()}
    crashed = [reason for reason in reasons.values() if "crashed (SIGSEGV) while it ran cut" in reason]
    wrong = [reason for reason in reasons.values() if "give another answer" in reason]
    assert (len(crashed), len(wrong)) == (1, 1)


def test_the_frontier_chooses_others_instead(child, tmp_path):
    (tmp_path / "plain").mkdir()
    options = {"proto": graphs.inverted_residuals(), "cuts": "frontier", "max_cuts": 1}
    chosen = names(built(tmp_path / "plain", **options))
    assert len(chosen) == 3
    child.lies.add(chosen[1])
    child.asked.clear()
    other = names(built(tmp_path, **options))
    assert len(other) == 3
    assert other[1] != chosen[1]
    assert child.asked == [name for name in (*chosen, *other) for _ in range(2)]  # at batch 1 and at batch 2


def test_where_all_inner_cuts_are_wrong_the_ends_are_left(child, tmp_path):
    child.crashes.update("abcd", {"y_pooled", "y_flat"})
    assert names(built(tmp_path)) == ["x", "end"]


def test_a_cut_that_was_asked_for_is_not_left_out(child, tmp_path):
    child.lies.add("b")
    with pytest.raises(
        UnsupportedModel, match=r"net\.onnx: cut 1 \(b\): head and tail give another .*; choose other cuts with"
    ):
        built(tmp_path, cuts=("b", "d"))
    assert names(built(tmp_path, cuts=("d",))) == ["x", "d", "end"]


@pytest.mark.parametrize(("name", "index"), [("x", 0), ("end", 7)])
@pytest.mark.parametrize("fault", ["lies", "crashes"])
def test_a_model_whose_ends_are_wrong_is_refused(child, fault, name, index, tmp_path):
    getattr(child, fault).add(name)
    with pytest.raises(UnsupportedModel, match=rf"cut {index} \({name}\): .*; this model cannot be cut"):
        built(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "net.onnx"]


def test_a_model_that_kills_the_runtime_at_one_cut_costs_that_cut(kept, monkeypatch, tmp_path):
    """The child itself dies, and another one goes on."""
    halves, pids = kept.halves, set()

    def run(bundle: Path, cut: int, feed: Tensors) -> Tensors:
        if Bundle.open(bundle).model.cuts[cut].name != "b":
            return halves(bundle, cut, feed)
        pids.add(kept.pid)
        return kept.uncut(dies().SerializeToString(), None)({"x": np.zeros((0, 1, 3), np.float32)})

    monkeypatch.setattr(kept, "halves", run)
    bundle = built(tmp_path)
    assert names(bundle) == ["x", "a", "c", "d", "y_pooled", "y_flat", "end"]
    assert any("SIGABRT" in place.why for place in bundle.boundaries())
    assert kept.pid not in pids


def dies() -> onnx.ModelProto:
    """A GRU ends the process where its sequence is empty."""
    weights = [models.weight("w", 1, 12, 3), models.weight("r", 1, 12, 4)]
    gru = helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=4)
    ends = {"x": (models.FLOAT, ["T", "N", 3])}, {"y": (models.FLOAT, ["T", 1, "N", 4])}
    return models.model([gru], *ends, weights)


# --- what fails leaves nothing -----------------------------------------------------------------------------------------------


class Stopped(Exception):
    """Raised by who listens to the progress."""


def samples() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((16, 3, 16, 16)).astype(np.float32)}


def stopping_at(stage: str, kind: type[BaseException] = Stopped):
    def progress(now: str, done: int, total: int) -> None:
        if now == stage and done == total:
            raise kind

    return progress


@pytest.mark.parametrize("kind", [Stopped, KeyboardInterrupt])
@pytest.mark.parametrize("stage", [*FOUR, "calibrate", "score"])
def test_a_build_that_is_stopped_leaves_nothing(kept, stage, kind, tmp_path):
    sampled = {"samples": samples(), "codecs": ("raw", "int4+zstd1")} if stage in ("calibrate", "score") else {}
    with pytest.raises(kind):
        built(tmp_path, cuts=("d",), progress=stopping_at(stage, kind), **sampled)
    assert list(tmp_path.iterdir()) == [tmp_path / "net.onnx"]


def test_a_build_that_is_stopped_leaves_what_was_there(kept, tmp_path):
    before = built(tmp_path, cuts=("d",))
    with pytest.raises(Stopped):
        built(tmp_path, cuts=("b",), overwrite=True, progress=stopping_at("profile"))
    assert Bundle.open(tmp_path / "bundle").digest == before.digest
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "bundle"}
    after = built(tmp_path, cuts=("b",), overwrite=True)
    assert Bundle.open(tmp_path / "bundle").digest == after.digest != before.digest


def test_a_child_that_fails_while_memory_is_measured_leaves_nothing(kept, monkeypatch, tmp_path):
    def peaks(_bundle: Path, _feed: Tensors) -> tuple[None, ...]:
        raise EngineError("it does not run any more")

    monkeypatch.setattr(kept, "peaks", peaks)
    with pytest.raises(EngineError, match="any more"):
        built(tmp_path, cuts=("d",))
    assert list(tmp_path.iterdir()) == [tmp_path / "net.onnx"]


def test_memory_that_could_not_be_measured_is_unknown(kept, monkeypatch, tmp_path):
    def peaks(_bundle: Path, _feed: Tensors) -> tuple[None, ...]:
        raise UnsupportedModel("onnxruntime crashed (SIGKILL)")

    monkeypatch.setattr(kept, "peaks", peaks)
    assert built(tmp_path, cuts=("d",)).profile.peak_bytes == (None, None, None)


@pytest.mark.parametrize(
    "options",
    [
        {"cuts": ("nowhere",)},
        {"samples": {"y": np.zeros((2, 2), np.float32)}},
        {"device_max_bytes": 10},
        {"codecs": ("no:such",)},
    ],
    ids=["cut", "samples", "device", "codec"],
)
def test_options_that_do_not_fit_leave_nothing(kept, options, tmp_path):
    with pytest.raises(SplitInferError):
        built(tmp_path, **options)
    assert list(tmp_path.iterdir()) == [tmp_path / "net.onnx"]


def test_what_is_there_is_not_replaced_and_not_even_looked_at(tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(FileExistsError, match="exists: choose another place, or overwrite it explicitly"):
        build(tmp_path / "nowhere.onnx", tmp_path / "bundle")


def test_folders_above_are_made(kept, tmp_path):
    path = models.save(models.chain(), tmp_path)
    build(path, tmp_path / "a" / "b" / "bundle", BuildOptions(cuts=("d",)))
    assert [found.name for found in (tmp_path / "a" / "b").iterdir()] == ["bundle"]


# --- the bundle --------------------------------------------------------------------------------------------------------------


def test_stages_come_in_order(kept, tmp_path):
    heard: list[str] = []
    built(tmp_path, cuts=("d",), progress=lambda stage, done, total: heard.append(stage))
    assert tuple(dict.fromkeys(heard)) == FOUR


def test_a_model_has_one_digest_each_time_and_wherever_its_weights_lie(kept, tmp_path):
    (tmp_path / "beside").mkdir()
    beside = tmp_path / "beside" / "net.onnx"
    onnx.save(models.residual(), beside, save_as_external_data=True, location="net.data", size_threshold=0)
    inside = models.save(models.residual(), tmp_path)
    options = BuildOptions(cuts=("b", "f"))
    found = [build(path, tmp_path / f"bundle{at}", options) for at, path in enumerate((inside, inside, beside, beside))]
    assert len({bundle.digest for bundle in found}) == 1


def test_samples_give_the_same_tables_each_time(kept, tmp_path):
    options = BuildOptions(cuts=("b",), samples=samples(), codecs=("raw", "int4+zstd1"))
    path = models.save(models.chain(), tmp_path)
    first, again = (build(path, tmp_path / name, options) for name in "ab")
    assert first.tables
    assert first.digest == again.digest
    assert first.digest != build(path, tmp_path / "c", BuildOptions(cuts=("b",))).digest


def test_a_tensor_called_end_can_be_cut_at(kept, tmp_path):
    nodes = [helper.make_node("Tanh", [a], [b]) for a, b in zip(("x", "a", "end"), ("a", "end", "y"), strict=True)]
    ends = {"x": (models.FLOAT, ["N", 8])}, {"y": (models.FLOAT, ["N", 8])}
    bundle = built(tmp_path, models.model(nodes, *ends), cuts=("end",))
    assert names(bundle)[:2] == ["x", "end"]
    assert len(set(names(bundle))) == 3
    assert [spec.name for spec in bundle.model.cuts[1].tensors] == ["end"]


def test_a_cut_that_does_not_exist_names_those_that_are_close(kept, tmp_path):
    with pytest.raises(InvalidCut, match="did you mean 'a_conv'"):
        built(tmp_path, cuts=("a_con",))


# --- large -------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_of_more_than_2_gb_is_cut_in_less_memory_than_its_weights_take(tmp_path):
    """Pages of a file that is mapped come and go. What cannot go is limited here, until the bundle is written and checked.

    Not limited are the child, which runs the model, and the measuring at the end, which runs what was made of it.
    """
    path = drawn.huge(tmp_path)
    weights = (tmp_path / "huge.weights").stat().st_size
    assert weights > 2e9
    program = f"""
        from pathlib import Path
        from resource import RLIMIT_DATA, getrlimit, prlimit, setrlimit
        from splitinfer.build import BuildOptions, build
        from splitinfer.build.trial import Trial
        _, most = getrlimit(RLIMIT_DATA)
        setrlimit(RLIMIT_DATA, ({weights // 4}, most))

        def freed(trial, plain=Trial._running):
            child = plain(trial)
            prlimit(child.pid, RLIMIT_DATA, (most, most))
            return child

        def progress(stage, done, total):
            if (stage, done) == ("check", total):
                setrlimit(RLIMIT_DATA, (most, most))

        Trial._running = freed
        bundle = build(Path({str(path)!r}), Path({str(tmp_path / "bundle")!r}), BuildOptions(max_cuts=2, progress=progress))
        print(bundle.model.n, bundle.nbytes)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, check=True, timeout=900
    )
    n, nbytes = map(int, done.stdout.split())
    assert n >= 2
    assert nbytes > weights
