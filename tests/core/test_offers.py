"""Which plans a device may choose from: what suits a cut, and what the build has measured there."""

from __future__ import annotations

import pytest

from splitinfer.codec import codec, picture
from splitinfer.model import Cut, Digest, Model, Segment, TensorSpec
from splitinfer.plan import NOTHING, Offer, Plan, PlanScore, Profile, Scorecard, offers

DIGEST = Digest("0" * 64)
IMAGE, MAP = TensorSpec("image", "uint8", (None, 16, 16, 3)), TensorSpec("map", "float32", (None, 8))
MODEL = Model(
    DIGEST,
    "net",
    "1",
    (IMAGE,),
    (TensorSpec("y", "float32", (None, 2)),),
    (Cut(0, "a" * 12, "image", (IMAGE,), 0.0), Cut(1, "b" * 12, "map", (MAP,), 0.5), Cut(2, "c" * 12, "end", (), 1.0)),
    tuple(Segment(index, "0" * 64, 1, 1, 1, (), ()) for index in range(2)),
    frozenset({0, 1}),
    "image",
)
PROFILE = Profile(DIGEST, "made up", "none", (1.0, 1.0))
MEASURED = PlanScore(5, 9, 0.0, 0.01, 200)


def table(**scores: PlanScore) -> dict[str, Offer]:
    card = Scorecard(DIGEST, {Plan.parse(plan): score for plan, score in scores.items()})
    return {str(offer.plan): offer for offer in offers(MODEL, PROFILE, card)}


def test_without_samples_there_are_lossless_plans_and_half() -> None:
    found = table()
    assert all(offer.lossless or offer.plan.codec.startswith("half") for offer in found.values())
    assert (found["1/half"].score.accuracy_loss, found["1/raw"].score.accuracy_loss) == (None, 0.0)


def test_half_is_not_offered_unmeasured_beside_plans_that_were_measured() -> None:
    found = table(**{"1/int8": MEASURED})
    assert "1/half" not in found
    assert {"1/int8", "1/raw", "0/raw"} <= found.keys()


def test_a_plan_says_whether_it_is_lossless() -> None:
    found = table(**{"1/int8": MEASURED, "0/jpeg:90": MEASURED})
    assert {plan: offer.lossless for plan, offer in found.items() if plan in ("1/int8", "0/jpeg:90", "0/png", "1/raw")} == {
        "1/int8": False,
        "0/jpeg:90": False,
        "0/png": True,
        "1/raw": True,
    }
    assert found[f"2/{NOTHING}"].lossless


@pytest.mark.parametrize("plan", ["0/jpeg:81", "1/int4", "1/int6"])
def test_what_was_measured_is_offered_even_where_nobody_would_have_thought_of_it(plan: str) -> None:
    assert plan not in table()
    assert table(**{plan: MEASURED})[plan].score == MEASURED


def test_a_row_whose_codec_is_not_installed_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert table(**{"1/nobodys:3": MEASURED}).keys() == table(**{"1/int8": MEASURED}).keys() - {"1/int8"}
    assert codec("jpeg:81")
    monkeypatch.setattr(picture.PictureCodec, "installed", lambda codec: False)
    assert "0/jpeg:81" not in table(**{"0/jpeg:81": MEASURED})


def test_every_plan_stands_once() -> None:
    card = Scorecard(DIGEST, {Plan(1, "int8"): MEASURED, Plan(1, "raw"): MEASURED, Plan(1, "int6"): MEASURED})
    plans = [offer.plan for offer in offers(MODEL, PROFILE, card)]
    assert len(plans) == len(set(plans))
    assert [plan.cut for plan in plans] == sorted(plan.cut for plan in plans)
