"""Each boundary has a reason, and the reason is true."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from splitinfer.build import cuts
from splitinfer.build.boundaries import orders
from splitinfer.build.cuts import Kept, cut_id
from splitinfer.build.graph import Graph
from splitinfer.build.load import simplify
from splitinfer.build.prices import prices
from splitinfer.build.reasons import explain
from splitinfer.bundle import BoundaryEntry, Bundle, write
from splitinfer.bundle.boundaries import decode_boundaries, encode_boundaries
from splitinfer.errors import CorruptBundle
from tests import graphs, models
from tests.bundles import tiny_net


def kept_of(proto, **options) -> Kept:
    simplify(proto)
    found = orders(Graph.of(proto), **options)
    return cuts.frontier(found, 6, image=False)


@pytest.fixture(scope="module")
def mobile() -> Kept:
    return kept_of(graphs.inverted_residuals())


def reasons(kept: Kept) -> dict[str, BoundaryEntry]:
    return {boundary.name: boundary for boundary in explain(kept, "m")}


def test_every_boundary_of_the_order_has_a_reason(mobile):
    boundaries = explain(mobile, "m")
    assert [boundary.position for boundary in boundaries] == [boundary.position for boundary in mobile.order.boundaries]
    assert [boundary.id for boundary in boundaries] == [cut_id("m", boundary.live) for boundary in mobile.order.boundaries]
    assert {boundary.position for boundary in boundaries if boundary.kept} == {
        boundary.position for boundary in mobile.boundaries
    }
    assert all(boundary.why for boundary in boundaries)
    assert [boundaries[0].depth, boundaries[-1].depth] == [0, 1]


def test_the_ends_say_what_they_are(mobile):
    first, *_, last = explain(mobile, "m")
    assert (first.why, last.why, last.name) == (
        "the input crosses: all is done in the cloud",
        "nothing crosses: all is done on the device",
        "end",
    )


def test_a_split_kernel_is_named(mobile):
    whys = [boundary.why for boundary in explain(mobile, "m")]
    assert "the runtime computes Conv and Relu across it in one kernel: cut after the Relu" in whys


def test_a_crossing_that_costs_much_is_priced(mobile):
    boundaries = explain(mobile, "m")
    dear = [boundary for boundary in boundaries if boundary.why.startswith("handing over")]
    assert dear
    assert all(
        re.fullmatch(r"handing over [\d.]+ [KM]B costs [\d.]+ % of the model's time, more than 6 %", p.why) for p in dear
    )
    assert not any(boundary.kept for boundary in dear)
    assert all(boundary.offered for boundary in dear)


def test_what_is_said_to_be_cheaper_is_cheaper_wherever_something_should_cross(mobile):
    whole = mobile.order.boundaries[-1].operations
    by_name = {"+".join(boundary.live): boundary for boundary in mobile.order.boundaries}
    claims = [(p.name, m[1]) for p in explain(mobile, "m") if (m := re.match(r"never the fastest: '(.*?)' ", p.why))]
    assert len(claims) > 5
    for name, better in claims:
        dear, cheap, end = prices([by_name[name], by_name[better], mobile.boundaries[-1]], whole)
        assert (np.minimum(cheap, end) <= dear).all()


def test_a_gain_that_is_stated_is_the_gain():
    full = kept_of(graphs.inverted_residuals())
    kept = full.boundaries[1]
    without = replace(full, boundaries=(full.boundaries[0], *full.boundaries[2:]))
    why = reasons(without)["+".join(kept.live)].why
    stated = float(re.match(r"at most ([\d.]+) % faster than the kept cuts, at [\d.]+ Mbit/s on a device \d+x slower", why)[1])
    whole = full.order.boundaries[-1].operations
    table = prices(without.boundaries, whole).min(axis=0) / prices([kept], whole)[0] - 1
    assert stated == pytest.approx(100 * table.max(), rel=0.06)


def test_a_kept_cut_says_where_it_is_the_fastest(mobile):
    inner = [boundary.why for boundary in explain(mobile, "m") if boundary.kept][1:-1]
    assert inner
    assert all("the fastest of the kept cuts" in why for why in inner)


def test_an_objection_comes_first():
    boundaries = reasons(kept_of(models.chain(), hidden={"a"}))
    assert boundaries["a"].why.startswith("it lies inside the image preprocessing")
    assert not boundaries["a"].offered


def test_a_wrong_answer_is_the_reason(mobile):
    boundary = mobile.boundaries[1]
    order = mobile.order.without({boundary.live: "head and tail differ"})
    kept = replace(mobile, order=order, boundaries=(mobile.boundaries[0],))
    found = reasons(kept)["+".join(boundary.live)]
    assert (found.kept, found.offered, found.why) == (False, False, "head and tail differ")


def test_where_cuts_were_named_the_others_were_not_asked_for(mobile):
    boundaries = explain(replace(mobile, frontier=None), "m")
    assert {boundary.why for boundary in boundaries if boundary.kept} >= {"asked for"}
    assert {boundary.why for boundary in boundaries if not boundary.kept} == {"not asked for"}


BOUNDARIES = (
    BoundaryEntry("0" * 12, "x", 0, 3072, 0.0, True, True, "the input crosses"),
    BoundaryEntry("1" * 12, "ü+<a>", 3, 1 << 40, 0.25, False, False, "it is a sequence"),
)


def test_places_travel_with_the_bundle(tmp_path):
    bundle = write(tmp_path / "net", tiny_net().draft(boundaries=BOUNDARIES))
    assert bundle.boundaries() == Bundle.open(tmp_path / "net").boundaries() == BOUNDARIES


def test_places_do_not_change_the_digest(tmp_path):
    with_them, without = (write(tmp_path / name, tiny_net().draft(boundaries=p)) for name, p in (("a", BOUNDARIES), ("b", ())))
    assert with_them.digest == without.digest
    assert without.boundaries() == ()


@pytest.mark.parametrize("data", [b"", b"[]", b'{"boundaries": 3}', b'{"boundaries": [{}]}', b"{" * 100_000])
def test_places_that_cannot_be_read_are_refused(data):
    with pytest.raises(CorruptBundle, match="build again, or delete the file"):
        decode_boundaries(data)


def test_places_that_lack_a_field_are_refused():
    rows = json.loads(encode_boundaries(BOUNDARIES))["boundaries"]
    for key in rows[0]:
        short = [{name: value for name, value in row.items() if name != key} for row in rows]
        with pytest.raises(CorruptBundle):
            decode_boundaries(json.dumps({"boundaries": short}).encode())
