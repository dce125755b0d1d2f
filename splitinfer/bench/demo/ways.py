"""splitinfer and its rivals. Each way is a policy of the same client, with the same fallback when the link is dead.

device_only    everything here
cloud_fp32     upload the float tensor, as most systems that are compared with do
cloud_coded    upload the image in the cheapest codec whose accuracy loss is within the budget: the honest rival
fixed_best     the one fixed plan that the model says is best over the whole timeline
splitinfer     the scheduler
"""

from __future__ import annotations

from dataclasses import dataclass

from splitinfer.bench.demo.scenario import Scenario
from splitinfer.bundle import Bundle
from splitinfer.energy import Power
from splitinfer.errors import NoFeasiblePlan
from splitinfer.plan import Budget, Conditions, Offer, Plan, Profile, Scorecard, Uplink, objection, offers, predict

OURS = "splitinfer"
NAMES = ("device_only", "cloud_fp32", "cloud_coded", "fixed_best", OURS)


@dataclass(frozen=True, slots=True)
class Way:
    """One way through the timeline.

    Attributes:
        name: as in the table.
        policy: of the client.
        image: whether it runs the image bundle (else the float one).
    """

    name: str
    policy: str
    image: bool = True


def ways(image: Bundle, plain: Bundle, scenario: Scenario, budget: Budget, slowdown: float) -> tuple[Way, ...]:
    """All ways, the rivals first."""
    table = _table(image, slowdown)
    policies = (
        f"static:{image.model.n}/none",
        "static:0/raw",
        f"static:{cheapest_upload(table, budget)}",
        f"static:{fixed_best(table, scenario, budget)}",
        "robust",
    )
    return tuple(Way(name, rule, image=name != "cloud_fp32") for name, rule in zip(NAMES, policies, strict=True))


def cheapest_upload(table: tuple[Offer, ...], budget: Budget) -> Plan:
    """The plan at cut 0 with the fewest bytes that the budget allows.

    Raises:
        NoFeasiblePlan: none is allowed.
    """
    allowed = [offer for offer in table if offer.plan.cut == 0 and objection(offer, budget) is None]
    if not allowed:
        raise NoFeasiblePlan("no codec of the input is within the accuracy budget")
    return min(allowed, key=lambda offer: offer.score.bytes_p50).plan


def fixed_best(table: tuple[Offer, ...], scenario: Scenario, budget: Budget) -> Plan:
    """The plan with the least predicted mean latency over the timeline, each phase weighted by its length.

    In a dead phase every plan costs what the device alone costs: the fallback.
    """
    allowed = [offer for offer in table if objection(offer, budget) is None]
    local_ms = next(offer.cost.latency_ms for offer in table if offer.local)
    return min(allowed, key=lambda offer: _mean_ms(offer, scenario, local_ms)).plan


def _mean_ms(offer: Offer, scenario: Scenario, local_ms: float) -> float:
    total = 0.0
    for phase in scenario.phases:
        if phase.dead:
            latency_ms = local_ms
        else:
            uplink = Uplink(phase.uplink_mbps * 1e6, 0.0, phase.rtt_ms)
            latency_ms = predict(offer, Conditions(link_up=True, uplink=uplink), Power()).latency_ms
        total += latency_ms * phase.duration_s
    return total / scenario.duration_s


def _table(bundle: Bundle, slowdown: float) -> tuple[Offer, ...]:
    profile = bundle.profile or Profile(bundle.model.digest, "", "", ())
    scorecard = bundle.scorecard or Scorecard(bundle.model.digest, {})
    return offers(bundle.model, profile.slowed(slowdown), scorecard)
