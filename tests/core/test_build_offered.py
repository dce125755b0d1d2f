"""Which plans a build measures."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from splitinfer.build import score
from splitinfer.build.score import Offered
from splitinfer.codec import table_key
from splitinfer.model import Cut, Model, TensorSpec

PHOTO = TensorSpec("photo", "uint8", (None, 8, 8, 3))
MAPS, IDS, STATE = (
    TensorSpec("m", "float32", (None, 4)),
    TensorSpec("i", "int64", (None, 4)),
    TensorSpec("s", "float32", (2, 4)),
)


@dataclass(frozen=True)
class NeedsTable:
    """A codec of somebody else's."""

    id: str = "theirs:1"
    lossless: bool = False
    needs_table: bool = True

    def accepts(self, spec: TensorSpec) -> bool:
        return spec.dtype == "float32"


def model(*tensors: TensorSpec) -> Model:
    cuts = (Cut(0, "a", "a", (PHOTO,), 0.0), Cut(1, "b", "b", tensors, 0.5), Cut(2, "c", "c", (), 1.0))
    return Model("0" * 64, "net", "1", (PHOTO,), (MAPS,), cuts, (), frozenset(), image_input="photo")


def ids(offered: Offered, cut: int = 1) -> set[str]:
    return {one.id for one in offered.at(offered.model.cuts[cut])}


def test_codecs_that_are_asked_for_are_offered_where_they_code_something_in_their_own_way():
    offered = Offered(model(IDS), ("int8", "raw", "jpeg:33"))
    assert ids(offered) == {"raw"}  # integers lose nothing
    assert ids(offered, cut=0) == {"raw", "jpeg:33"}
    assert ids(offered, cut=2) == set()
    assert offered.count() == 3


@pytest.mark.parametrize(
    ("tables", "found"),
    [(None, {"theirs:1"}), ({}, set()), ({table_key(1, "m", "theirs:1"): b"table"}, {"theirs:1"})],
    ids=["not made yet", "none could be made", "made"],
)
def test_a_codec_without_the_table_that_it_needs_is_left_out(monkeypatch, tables, found):
    monkeypatch.setattr(score, "codec_named", lambda id: NeedsTable())
    assert ids(Offered(model(MAPS, IDS), ("theirs:1",), tables)) == found


def test_where_a_state_crosses_nothing_loses_more_than_half():
    lossy = {
        one.id
        for one in Offered(model(MAPS, STATE), states=frozenset({"s"})).at(model(MAPS, STATE).cuts[1])
        if not one.lossless
    }
    assert lossy
    assert all(id.startswith("half") for id in lossy)
    assert "int8" in ids(Offered(model(MAPS, STATE)))
    assert "int8" in ids(Offered(model(MAPS, STATE), ("int8",), states=frozenset({"s"})))
