"""A bundle for devices that cannot hold all of it: the first segments, and everything else as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitinfer.bundle import Bundle, head_bytes, longest_head, trim
from splitinfer.errors import CorruptBundle, InvalidCut, InvalidInput
from splitinfer.plan import Plan, PlanScore, Profile, Scorecard
from tests.bundles import tiny_bundle

RECORDS = ("manifest.json", "info.json", "scorecard.json", "profile.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = tiny_bundle(tmp_path_factory.mktemp("trim") / "whole", tables={"1/a/k": b"a table"})
    bundle = bundle.save_scorecard(Scorecard(bundle.digest, {Plan(2, "half"): PlanScore(10, 12, 0.0, 0.1, 9)}))
    return bundle.save_profile(Profile(bundle.digest, "desk", "engine", (1.0, 2.0, 3.0), peak_bytes=(0, 1, 2, 3)))


def blobs(bundle: Bundle) -> set[str]:
    return {path.name for path in bundle.blobs.iterdir()}


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_the_first_segments_stay_and_all_else_is_the_same(whole: Bundle, tmp_path: Path, kept: int) -> None:
    part = trim(whole, tmp_path / "part", kept)
    assert part.model.holds == frozenset(range(kept))
    assert part.digest == whole.digest
    assert part.nbytes == head_bytes(whole)[kept] + len(b"a table")
    assert (part.tables, part.scorecard, part.profile, part.info) == (whole.tables, whole.scorecard, whole.profile, whole.info)
    assert [part.graph(index) for index in range(kept)] == [whole.graph(index) for index in range(kept)]
    assert blobs(part) <= blobs(whole)
    for name in RECORDS:
        assert (part.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_no_byte_of_what_was_left_out_is_there(whole: Bundle, tmp_path: Path) -> None:
    part = trim(whole, tmp_path / "part", 2)
    only_tail = {whole.manifest.segments[2].sha256, *(whole.weights(2).keys() - whole.weights(1).keys())}
    assert blobs(part) == blobs(whole) - only_tail
    assert whole.weights(1).keys() & whole.weights(2).keys() <= blobs(part), "a weight of both is needed by the head"


def test_a_shared_weight_counts_once(whole: Bundle) -> None:
    graphs = [len(whole.graph(index)) for index in range(3)]
    shared, last = 8 * 8 * 3 * 3 * 4, 8 * 40 * 4
    assert head_bytes(whole) == (0, graphs[0], sum(graphs[:2]) + shared, sum(graphs) + shared + last)


@settings(derandomize=True, deadline=None)
@given(limit=st.integers(0, 10_000))
def test_the_longest_head_that_fits(whole: Bundle, limit: int) -> None:
    sizes = head_bytes(whole)
    if limit < sizes[1]:
        with pytest.raises(InvalidInput, match=r"segment 0, has 0\.001 MB.*--cuts all, or --cut NAME"):
            longest_head(whole, limit)
        return
    kept = longest_head(whole, limit)
    assert sizes[kept] <= limit
    assert kept == 3 or sizes[kept + 1] > limit


def test_a_head_of_just_the_limit_fits(whole: Bundle) -> None:
    assert [longest_head(whole, nbytes) for nbytes in head_bytes(whole)[1:]] == [1, 2, 3]


def test_what_was_trimmed_can_be_trimmed_again_but_does_not_grow(whole: Bundle, tmp_path: Path) -> None:
    part = trim(whole, tmp_path / "part", 2)
    assert longest_head(part, 10**9) == 2
    assert trim(part, tmp_path / "less", 1).model.holds == {0}
    with pytest.raises(InvalidCut, match="segment 2 is not held here"):
        trim(part, tmp_path / "more", 3)


@pytest.mark.parametrize("segments", [-1, 0, 4])
def test_so_many_segments_there_are_not(whole: Bundle, tmp_path: Path, segments: int) -> None:
    with pytest.raises(InvalidCut, match="at least 1"):
        trim(whole, tmp_path / "part", segments)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_by_accident(whole: Bundle, tmp_path: Path) -> None:
    other = tiny_bundle(tmp_path / "other")
    with pytest.raises(FileExistsError, match="overwrite"):
        trim(whole, other.path, 1)
    assert Bundle.open(other.path).digest == other.digest
    assert trim(whole, other.path, 1, overwrite=True).digest == Bundle.open(other.path).digest == whole.digest


def test_a_bundle_can_be_trimmed_in_place(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    assert trim(bundle, bundle.path, 1, overwrite=True).model.holds == {0}
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_file_that_was_changed_meanwhile_is_not_copied(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    graph = bundle.blobs / bundle.manifest.segments[0].sha256
    graph.write_bytes(graph.read_bytes()[::-1])
    with pytest.raises(CorruptBundle, match="changed"):
        trim(bundle, tmp_path / "part", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_records_that_are_not_there_are_not_missed(tmp_path: Path) -> None:
    part = trim(tiny_bundle(tmp_path / "b"), tmp_path / "part", 1)
    assert (part.scorecard, part.profile) == (None, None)
