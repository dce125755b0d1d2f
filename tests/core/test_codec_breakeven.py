"""Where a byte compressor behind a quantiser starts to pay: below the rate at which its time sends the bytes it saves.

    rate = 8 * bytes saved / (encode + decode time more)

The scheduler knows no such rule: it follows from the measured bytes and times of two plans.
"""

from __future__ import annotations

import pytest

from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec
from splitinfer.plan import Budget, Conditions, Plan, PlanScore, Power, Profile, Scorecard, Uplink, lookup, offers, predict
from splitinfer.policy import Robust, Table

PLAIN, PACKED = Plan(1, "int8"), Plan(1, "int8+zstd1")
DIGEST = Digest("0" * 64)
MAP = TensorSpec("map", "float32", (None, 24, 56, 56))
ANSWER = TensorSpec("answer", "float32", (None, 10))


def model() -> Model:
    image = TensorSpec("image", "float32", (None, 3, 224, 224))
    cuts = tuple(Cut(i, str(i) * 12, spec.name, (spec,), i / 2) for i, spec in enumerate((image, MAP)))
    cuts += (Cut(2, "2" * 12, "end", (), 1.0),)
    segments = tuple(Segment(i, "0" * 64, 1, 1, 1, (a,), (b,)) for i, a, b in ((0, "image", "map"), (1, "map", "answer")))
    return Model(DIGEST, "net", "1", (image,), (ANSWER,), cuts, segments, frozenset((0, 1)))


def table(saved_bytes: int, encode_ms: float, decode_ms: float, slower: float = 1.0) -> Table:
    """Two plans that differ in a compressor alone. The device is too slow, and the input too large, for another one."""
    plain, scores = 75_264, {}
    for plan, nbytes in ((PLAIN, plain), (PACKED, plain - saved_bytes)):
        scores[plan] = PlanScore(nbytes, nbytes, 0.0, 0.0, n=300)
    profile = Profile(
        DIGEST,
        device="",
        engine="",
        segment_ms=(2.0, 10_000.0),
        encode_ms={PLAIN: 0.1, PACKED: 0.1 + encode_ms},
        decode_ms={PLAIN: 0.1, PACKED: 0.1 + decode_ms},
        tail_ms=(10.0, 8.0, 0.0),
    )
    rows = offers(model(), profile.slowed(slower), Scorecard(DIGEST, scores))
    return Table(tuple(row for row in rows if row.plan.cut == 2 or row.plan in scores))


def at(mbps: float) -> Conditions:
    return Conditions(link_up=True, uplink=Uplink(mbps * 1e6, spread=0.01, rtt_ms=10.0), queue_ms=0.0)


# Measured on feature maps of EfficientNet-Lite0: an early linear one, and a later one behind a ReLU.
MEASURED = ((13_826, 0.132, 0.132), (38_319, 0.244, 0.116))


@pytest.mark.parametrize(("saved_bytes", "encode_ms", "decode_ms"), MEASURED)
@pytest.mark.parametrize("slower", [1.0, 10.0])
def test_the_compressor_pays_below_the_rate_that_sends_what_it_saves_in_its_time(
    saved_bytes: int, encode_ms: float, decode_ms: float, slower: float
) -> None:
    known = table(saved_bytes, encode_ms, decode_ms, slower)
    mbps = 8 * saved_bytes / (encode_ms * slower + decode_ms) / 1e3
    assert Robust().decide(known, at(0.9 * mbps), Budget()).plan == PACKED
    assert Robust().decide(known, at(1.1 * mbps), Budget()).plan == PLAIN

    def latency_ms(plan: Plan) -> float:
        row = lookup(known.offers, plan)
        assert row is not None
        return predict(row, at(mbps), Power()).latency_ms

    assert latency_ms(PLAIN) == pytest.approx(latency_ms(PACKED), abs=1e-6)


def test_a_slower_device_compresses_on_slower_links_only() -> None:
    fast, slow = table(*MEASURED[0]), table(*MEASURED[0], slower=10.0)
    assert Robust().decide(fast, at(300), Budget()).plan == PACKED
    assert Robust().decide(slow, at(300), Budget()).plan == PLAIN
    assert Robust().decide(slow, at(50), Budget()).plan == PACKED
