"""Every cut against the uncut model: what is run, and which cut is blamed. What stands for the child answers as it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from splitinfer.build.check import TOLERANCE, CutCheck, check
from splitinfer.build.walk import MANY_CUTS
from splitinfer.errors import EngineError, InvalidInput, UnsupportedModel
from splitinfer.model import Cut, Digest, Model, Tensors, TensorSpec

X = TensorSpec("x", "float32", (None, 2))
FEED = {"x": np.float32([[2, -4]])}


def uncut(feed: Tensors) -> Tensors:
    return {"y": feed["x"] * 10}


def bundle_with(cuts: int) -> SimpleNamespace:
    """As much of a bundle as a check looks at."""
    made = tuple(Cut(at, f"{at:012x}", f"t{at}", (X,), at / cuts) for at in range(cuts))
    segments = ((),) * (cuts - 1)
    return SimpleNamespace(path=Path("here"), model=Model(Digest(""), "net", "1", (X,), (X,), made, segments, frozenset()))


@dataclass
class Child:
    """Adds an error to the answer of each cut, or raises.

    Attributes:
        errors: of head and tail of a cut.
        together: of all segments one after the other.
        asked: cuts that were run; "all" for the segments one after the other.
    """

    errors: dict[int, float | Exception] = field(default_factory=dict)
    together: float | Exception = 0.0
    asked: list[object] = field(default_factory=list)

    def halves(self, _path: Path, cut: int, feed: Tensors) -> Tensors:
        self.asked.append(cut)
        return self._answer(self.errors.get(cut, 0.0), feed)

    def chain(self, _path: Path, feed: Tensors, progress) -> Tensors:
        self.asked.append("all")
        progress(1, 2)
        return self._answer(self.together, feed)

    def _answer(self, error: float | Exception, feed: Tensors) -> Tensors:
        if isinstance(error, Exception):
            raise error
        return {"y": uncut(feed)["y"] + np.float32(error)}


def checked(child: Child, cuts: int = 4, feeds=(FEED,), **more: object) -> list[CutCheck]:
    return check(child, bundle_with(cuts), feeds, uncut, **more)


def wrong(checks: list[CutCheck]) -> list[int]:
    return [one.index for one in checks if not one.ok]


def test_cuts_that_give_the_same_answer_are_right():
    checks = checked(Child())
    assert [(one.index, one.id, one.max_abs_error, one.max_rel_error, one.ok) for one in checks] == [
        (at, f"{at:012x}", 0.0, 0.0, True) for at in range(4)
    ]


def test_the_error_of_each_cut_is_its_own():
    checks = checked(Child({2: 1.0}))
    assert wrong(checks) == [2]
    assert checks[2].max_abs_error == 1.0
    assert checks[2].max_rel_error == pytest.approx(1 / 40)
    assert checks[2].objection.startswith(
        "head and tail give another answer than the uncut model: error 2.5e-02 of the largest"
    )


@pytest.mark.parametrize(("share", "right"), [(0.9, True), (1.1, False)])
def test_a_little_of_the_largest_value_is_the_same_answer(share, right):
    assert (wrong(checked(Child({1: 40 * TOLERANCE * share}))) == []) is right


@pytest.mark.parametrize(
    "error", [UnsupportedModel("onnxruntime crashed (SIGSEGV)"), EngineError("a node failed"), InvalidInput("a shape")]
)
def test_a_crash_is_an_objection_to_the_cut_where_it_happened(error):
    checks = checked(Child({1: error}))
    assert wrong(checks) == [1]
    assert checks[1].objection == str(error)
    assert checks[1].max_rel_error == np.inf


def test_the_worst_of_all_feeds_counts():
    small, large = {"x": np.float32([[1, 1]])}, {"x": np.float32([[100, 1]])}
    both, one = checked(Child({1: 0.05}), feeds=(large, small)), checked(Child({1: 0.05}), feeds=(large,))
    assert wrong(both) == [1]
    assert wrong(one) == []
    assert both[1].max_rel_error == pytest.approx(0.05 / 10, rel=1e-4)


def test_an_output_that_is_missing_is_wrong():
    class Forgetful(Child):
        def halves(self, _path: Path, cut: int, feed: Tensors) -> Tensors:
            return {} if cut == 1 else super().halves(_path, cut, feed)

    assert wrong(checked(Forgetful())) == [1]


# --- many cuts ---------------------------------------------------------------------------------------------------------------

FEW, MANY = MANY_CUTS + 1, MANY_CUTS + 2


def test_few_cuts_are_each_run():
    child = Child()
    checked(child, FEW)
    assert child.asked == ["all", *range(FEW)]


def test_many_cuts_are_crossed_one_after_the_other_and_share_the_error():
    child = Child(together=40 * TOLERANCE / 2)
    checks = checked(child, MANY)
    assert child.asked == ["all"]
    assert [one.index for one in checks] == list(range(MANY))
    assert {one.id for one in checks} == {f"{at:012x}" for at in range(MANY)}
    assert [one.max_rel_error for one in checks] == pytest.approx([TOLERANCE / 2] * MANY, rel=1e-2)


def test_many_cuts_are_each_run_where_that_is_asked():
    child = Child({5: 1.0})
    assert wrong(checked(child, MANY, each=True)) == [5]
    assert child.asked == ["all", *range(MANY)]


@pytest.mark.parametrize("together", [1.0, UnsupportedModel("it crashed")])
def test_many_cuts_are_each_run_where_they_are_wrong_together(together):
    child = Child({5: 1.0}, together)
    assert wrong(checked(child, MANY)) == [5]
    assert child.asked == ["all", *range(MANY)]


def test_where_each_is_right_but_not_all_together_the_worst_inner_cut_is_blamed():
    little = 40 * TOLERANCE / 4
    checks = checked(Child({0: 2 * little, 1: little / 2, 2: little, 3: 2 * little}, together=1.0))
    assert wrong(checks) == [2]
    assert checks[2].id == f"{2:012x}"
    assert checks[2].max_abs_error == 1.0


def test_a_crash_of_all_together_is_told_of_the_cut_that_is_blamed():
    checks = checked(Child({1: 1e-6}, UnsupportedModel("it crashed in segment 1")))
    assert wrong(checks) == [1]
    assert checks[1].objection == "it crashed in segment 1"


def test_no_other_cut_is_blamed_where_one_is_wrong_by_itself():
    assert wrong(checked(Child({0: 1.0}, together=1.0))) == [0]


def test_without_inner_cuts_the_first_is_blamed():
    assert wrong(checked(Child(together=1.0), cuts=2)) == [0]


# --- around it ---------------------------------------------------------------------------------------------------------------


def test_feeds_that_do_not_fit_are_refused_before_anything_is_run():
    child = Child()
    with pytest.raises(InvalidInput):
        checked(child, feeds=(FEED, {"x": np.zeros((1, 3), np.float32)}))
    assert not child.asked


def test_an_uncut_model_that_fails_is_no_fault_of_a_cut():
    def failing(feed: Tensors) -> Tensors:
        raise EngineError("out of memory")

    with pytest.raises(EngineError, match="out of memory"):
        check(Child(), bundle_with(3), (FEED,), failing)


def test_each_cut_that_is_done_is_told():
    heard: list[tuple[int, int]] = []
    checked(Child(), 3, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 2), (1, 3), (2, 3), (3, 3)]


def test_integers_are_equal_or_wrong():
    class Counts(Child):
        def _answer(self, error, feed):
            return {"n": uncounted(feed)["n"] + np.int64(error)}

    def uncounted(feed: Tensors) -> Tensors:
        return {"n": np.int64([1_000_000, 3])}

    found = check(Counts({1: 1}, together=1), bundle_with(3), [FEED], uncounted)
    assert [one.ok for one in found] == [True, False, True]
    assert found[1].max_abs_error == 1


def test_what_computes_in_few_bits_is_held_to_less():
    error = 5e-5 * 40  # of the largest value, 40
    assert all(one.ok for one in check(Child({1: error}), bundle_with(3), [FEED], uncut))
    found = check(Child({1: error}), bundle_with(3), [FEED], uncut, each=True)
    assert [one.ok for one in found] == [True, False, True]
    assert "at most 1e-05 is the same answer" in found[1].objection
