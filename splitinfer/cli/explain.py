"""`splitinfer explain`: what would be chosen on such a link, what everything else would cost, and when the choice flips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import Any

import click

from splitinfer.bundle import Bundle
from splitinfer.cli.output import json_option, kilobytes, print_json, print_table
from splitinfer.cli.sizes import megabytes
from splitinfer.energy import Power
from splitinfer.errors import CorruptBundle
from splitinfer.plan import Budget, Conditions, Offer, Profile, Scorecard, Uplink, objection, offers, predict
from splitinfer.policy import Decision, Table, policy

RATES_MBPS = tuple(round(0.1 * 10 ** (step / 20), 3) for step in range(75))
"""0.1 to 500 Mbit/s, twenty steps a decade: where the verdict looks for flips."""
P90 = 1.2816
"""Standard normal quantile."""
UNLIKE = "inputs unlike the samples that the codecs were measured on"
POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command("explain")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--uplink-mbps", type=POSITIVE, required=True, help="Rate of the link, upwards.")
@click.option("--rtt-ms", type=click.FloatRange(min=0), required=True, help="Round trip.")
@click.option("--spread", type=click.FloatRange(min=0), default=0.3, show_default=True, help="Standard deviation of ln(rate).")
@click.option("--latency-ms", type=float, help="Latency budget.")
@click.option("--accuracy-loss-max", type=float, default=0.01, show_default=True)
@click.option("--strict", is_flag=True, help="Hold the 95 % bound of the accuracy loss against the budget, not the estimate.")
@click.option("--depth-min", type=float, default=0.0, help="Privacy floor: share of the compute that stays on the device.")
@click.option("--memory-mb", "memory_bytes", type=megabytes, help="Memory that segments may take on the device.")
@click.option("--battery", type=click.FloatRange(0, 1), help="Charge, 0 to 1; default: mains.")
@click.option("--device-slowdown", type=POSITIVE, default=1.0, show_default=True, help="Slower than the profiled machine.")
@click.option("--cloud-speedup", type=POSITIVE, default=1.0, show_default=True, help="Faster than the profiled machine.")
@click.option("--queue-ms", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Waiting time in the cloud.")
@click.option("--drifted", is_flag=True, help="Inputs are unlike the samples of the build: no loss is allowed.")
@json_option
def command(bundle: Path, as_json: bool, **given: Any) -> int:
    """Show every plan of BUNDLE with its predicted cost, the pick, why, and the verdict."""
    case = _case(Bundle.open(bundle), given)
    decision = case.decide(given["uplink_mbps"])
    rows = [case.row(offer) for offer in case.table.offers]
    verdict = case.verdict()
    if as_json:
        pick = {"cut": decision.plan.cut, "codec": decision.plan.codec}
        print_json(
            {"pick": pick, "why": decision.reason, "verdict": verdict, "plans": rows, "profile_source": case.profile.source}
        )
    else:
        _print(rows, decision, verdict, case.profile)
    return 0


@dataclass(frozen=True)
class Case:
    """One question: these plans, in these conditions, under this budget."""

    table: Table
    profile: Profile
    conditions: Conditions
    budget: Budget
    n: int

    def at(self, uplink_mbps: float) -> Conditions:
        """The same conditions at another rate."""
        assert self.conditions.uplink is not None
        return replace(self.conditions, uplink=replace(self.conditions.uplink, rate_bps=uplink_mbps * 1e6))

    def decide(self, uplink_mbps: float) -> Decision:
        """What the default policy takes."""
        return policy("robust").decide(self.table, self.at(uplink_mbps), self.budget)

    def row(self, offer: Offer) -> dict[str, Any]:
        """One plan with its predicted cost."""
        uplink = self.conditions.uplink
        assert uplink is not None
        power = self.table.power
        cost = predict(offer, self.conditions, power)
        slow = predict(offer, self.conditions, power, rate_bps=uplink.rate_bps * exp(-P90 * uplink.spread))
        why_not = objection(offer, self.budget) or (UNLIKE if self.conditions.drifted and not offer.lossless else None)
        late = self.budget.latency_ms is not None and cost.latency_ms > self.budget.latency_ms
        return {
            "cut": offer.plan.cut,
            "codec": offer.plan.codec,
            "latency_ms": cost.latency_ms,
            "latency_p90_ms": slow.latency_ms,
            "energy_mj": cost.energy_mj,
            "uplink_bytes": cost.uplink_bytes,
            "accuracy_loss": offer.score.accuracy_loss,
            "accuracy_loss_bound": offer.score.accuracy_loss_bound,
            "feasible": why_not is None,
            "why": why_not or (f"later than {self.budget.latency_ms:g} ms" if late else "within the budget"),
        }

    def verdict(self) -> str:
        """Device, upload or split, and at which rates that changes."""
        spans: list[tuple[float, str]] = []
        for rate in RATES_MBPS:
            kind = self._kind(self.decide(rate))
            if not spans or spans[-1][1] != kind:
                spans.append((rate, kind))
        if len(spans) == 1:
            return f"{spans[0][1]} at every rate from {RATES_MBPS[0]:g} to {RATES_MBPS[-1]:g} Mbit/s"
        parts = [f"{spans[0][1]} below {spans[1][0]:g} Mbit/s"]
        parts += [f"{kind} from {start:g} Mbit/s" for start, kind in spans[1:]]
        return ", ".join(parts)

    def _kind(self, decision: Decision) -> str:
        cut = decision.plan.cut
        return "upload" if cut == 0 else "device" if cut == self.n else f"split at cut {cut}"


def _case(bundle: Bundle, given: dict[str, Any]) -> Case:
    if bundle.profile is None:
        raise CorruptBundle(f"{bundle.path} has no reference profile: build it again")
    profile = bundle.profile.slowed(given["device_slowdown"])
    scorecard = bundle.scorecard or Scorecard(bundle.model.digest, {})
    conditions = Conditions(
        link_up=True,
        uplink=Uplink(given["uplink_mbps"] * 1e6, given["spread"], given["rtt_ms"]),
        queue_ms=given["queue_ms"],
        tail_scale=1 / given["cloud_speedup"],
        battery=given["battery"],
        charging=None if given["battery"] is None else False,
        drifted=given["drifted"],
    )
    budget = Budget(
        latency_ms=given["latency_ms"],
        accuracy_loss_max=given["accuracy_loss_max"],
        strict=given["strict"],
        depth_min=given["depth_min"],
        memory_bytes=given["memory_bytes"],
    )
    table = Table(offers(bundle.model, profile, scorecard), Power())
    return Case(table, profile, conditions, budget, bundle.model.n)


def _print(rows: list[dict[str, Any]], decision: Decision, verdict: str, profile: Profile) -> None:
    columns = ("plan", "ms", "p90 ms", "mJ (modelled)", "bytes", "accuracy loss", "")
    print_table(
        columns,
        [
            (
                ("→ " if (r["cut"], r["codec"]) == (decision.plan.cut, decision.plan.codec) else "  ")
                + f"{r['cut']}/{r['codec']}",
                r["latency_ms"],
                r["latency_p90_ms"],
                r["energy_mj"],
                kilobytes(r["uplink_bytes"]),
                r["accuracy_loss"],
                r["why"],
            )
            for r in sorted(rows, key=lambda r: (not r["feasible"], r["latency_ms"]))
        ],
    )
    click.echo(f"pick: {decision.plan} ({decision.reason})")
    click.echo(f"verdict: {verdict}")
    click.echo(f"times: {profile.source} profile of {profile.device}, {profile.engine}")
