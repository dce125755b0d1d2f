"""The traps themselves: what they say, and that they are the same each time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest

from splitinfer.bench.traps import TRAPS

CUT = [trap for trap in TRAPS if trap.expect == "cut"]
REFUSED = [trap for trap in TRAPS if trap.expect == "refused"]


def test_there_are_enough_of_both_kinds():
    assert len(CUT) >= 100
    assert len(REFUSED) >= 40


def test_names_are_unique_words():
    names = [trap.name for trap in TRAPS]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_each_says_why():
    reasons = [trap.why for trap in TRAPS]
    assert len(set(reasons)) == len(reasons)
    assert all(10 < len(reason) < 128 and not reason.endswith(".") for reason in reasons)


@pytest.mark.parametrize("trap", CUT, ids=lambda trap: trap.name)
def test_a_trap_is_the_same_each_time(trap):
    first, second = (trap.model().SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    for one, again in zip(trap.feeds(), trap.feeds(), strict=True):
        assert one.keys() == again.keys()
        assert all(np.array_equal(one[name], again[name]) for name in one)


@pytest.mark.parametrize("trap", CUT, ids=lambda trap: trap.name)
def test_a_trap_is_fed_what_its_inputs_say_and_more_than_one_size(trap):
    graph = trap.model().graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value.type.tensor_type.shape.dim for value in graph.input if value.name not in weights}
    runs = trap.feeds()
    assert all(run.keys() == inputs.keys() for run in runs)
    for name, dims in inputs.items():
        assert all(run[name].ndim == len(dims) for run in runs)
        for axis, dim in enumerate(dims):
            sizes = {run[name].shape[axis] for run in runs}
            assert sizes == {dim.dim_value} if dim.dim_value > 0 else len(sizes) > 1 or dim_is_one(trap)


def dim_is_one(trap):
    return trap.name in {"literal_one", "absent_inputs"}  # these take one item, whatever they say


@pytest.mark.parametrize("trap", CUT, ids=lambda trap: trap.name)
def test_what_must_or_must_not_cross_is_in_the_model(trap):
    model = trap.model()
    known = {value.name for value in model.graph.input} | {name for node in model.graph.node for name in node.output}
    assert trap.never_cross | {name for live in trap.must_cross for name in live} <= known
    assert trap.must_cross or trap.cuts_min > 2 or trap.name in {"if_is_everything", "nothing_but_identity"}


@pytest.mark.parametrize("trap", REFUSED, ids=lambda trap: trap.name)
def test_a_refusal_has_to_name_something(trap, tmp_path):
    assert trap.says
    assert trap.write(tmp_path).suffix == ".onnx"


def test_traps_of_all_opsets_are_what_they_say():
    versions = [int(trap.name.removeprefix("opset_")) for trap in CUT if trap.name.startswith("opset_")]
    models = {trap.name: trap.model() for trap in CUT}
    assert versions[0] == 7
    assert all(models[f"opset_{version}"].opset_import[0].version == version for version in versions)
    for version in versions:
        onnx.checker.check_model(models[f"opset_{version}"], full_check=True)


def test_listing_traps_does_not_import_onnx():
    code = "import sys, splitinfer.bench.traps; sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
