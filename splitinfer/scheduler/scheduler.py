"""Events and `now_ms` in, events out: the state machine that keeps the plan.

It knows no clock, no thread and no socket. Whoever drives it hands every event over with a monotonic time, performs what comes
back (`PlanChanged` is to be told, `ProbeDue` to be carried out, in order) and calls `wake` at `wakeup_at_ms`. It is not
thread-safe: the driver holds a lock. A plan is chosen when an event changes the conditions, never inside a request.

Two lessons are built in. A device that computes everything itself hears nothing of the link any more and would stay alone for
ever: so it explores, though only while there are requests. And a late reply is a bound on the rate, not a dead link: only
`LinkChanged` says that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf, isfinite

from splitinfer.battery import Battery
from splitinfer.draw import uniform
from splitinfer.energy import Power
from splitinfer.errors import NoFeasiblePlan
from splitinfer.estimate import Belief, Drift, LiveProfile, Load, Opening, Prior
from splitinfer.events import (
    BudgetSet,
    Event,
    Inferred,
    InputsDrifted,
    LinkChanged,
    LoadReported,
    ModelReady,
    Outcome,
    PlanChanged,
    PowerRead,
    Requested,
    RequestRefused,
    Transferred,
    Woken,
)
from splitinfer.hedges import Hedges
from splitinfer.plan import (
    ASSUMED_UPLINK,
    Budget,
    Conditions,
    Cost,
    Offer,
    Plan,
    Profile,
    Uplink,
    objection,
    offers,
    predict,
)
from splitinfer.policy import Decision, Learner, Policy, Table, Thompson, belief, hedges, in_saver, is_critical, price
from splitinfer.scheduler.exploration import PROBE_GAP_MS, Exploration
from splitinfer.scheduler.pace import CLEAR_GAIN, Deferred, Pace

RECONSIDER_MS = 250.0
"""A request makes the scheduler think again if it has not for so long: estimates age and reports fade."""
AWAKE_MS = 10_000.0
"""For so long a cellular radio stays awake after an upload, and a connection open for certain: requests within it share the
cost of both (see `Conditions.opening_share`)."""
GAP_WEIGHT = 0.3
"""Of the last pause between two requests."""
LOAD_STEP, LOAD_STEP_MS = 0.2, 5.0
"""Reports that say less than this of anything new change no plan by themselves."""
LINK_STEP = 0.03
"""Nor do transfers after which the link is believed what it was but for this share."""
OUTAGE_MS = 2_000.0
"""A link that was gone for so long explains what had no answer. One back at once does not: so looks a cloud that accepts
and never answers."""
REFUSED_QUEUE_MS = 1_000.0
"""A refusal counts as a report of a queue of this length."""
BYTES_MAX = 1 << 50
"""No report of more bytes than that is true."""
PROBE_TAIL_MAX_MS = 1_000.0
"""A radio that stays awake for longer after each byte (LTE: ten seconds, ten joules) is not woken for a probe."""
WELL_KNOWN_DOUBT = 0.5
"""A link that is known better than this is not probed while a plan uses it."""
PERFECT_UPLINK = Uplink(rate_bps=1e10, spread=0.0, rtt_ms=1.0)


class Scheduler:
    """Keeps the plan of one client.

    Attributes:
        policy: the rule.
        budget: of the application.
        conditions: the world as it was last seen.
        table: the plans to choose from; None before the first `ModelReady`.
        plan: in force; None before the first `ModelReady`.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        budget: Budget | None = None,
        power: Power | None = None,
        *,
        seed: int = 0,
        priors: Mapping[str, Prior] | None = None,
    ) -> None:
        """Starts with a policy that knows nothing yet.

        Args:
            policy: the rule; the default draws from what is believed of the link.
            budget: what may be spent.
            power: energy model of the device.
            seed: of the draws.
            priors: what was learnt of networks before, by their names in `LinkChanged`.
        """
        self.policy: Policy = policy or Thompson()
        self._learner = self.policy if isinstance(self.policy, Learner) else None
        self.budget = budget or Budget()
        self.conditions = Conditions()
        self.table: Table | None = None
        self.plan: Plan | None = None
        self.priors = dict(priors or {})
        self._power = power or Power()
        self._radio = self._power.radio(None)
        self._seed = seed
        self._decisions = 0
        self._ready: ModelReady | None = None
        self._live: LiveProfile | None = None
        self._belief: Belief = belief(self.policy.name)
        self._opening = Opening()
        self._network: str | None = None
        self._load = Load()
        self._drift = Drift()
        self._battery = Battery()
        self._hedges = Hedges()
        self._alone = False  # whether the plan in force is the device's own
        self._gap_ms = AWAKE_MS
        self._requested_at_ms = -inf
        self._idle_to_ms = 0.0
        self._lost_at_ms = -inf
        self._pace = Pace()
        self._exploration = Exploration()
        self._chosen_under = self.conditions
        self._decided_at_ms = -inf
        self._deferred: Deferred | None = None

    @property
    def wakeup_at_ms(self) -> float | None:
        """When `wake` wants to be called; None = only an event can change something."""
        times = []
        if self._deferred is not None:
            times.append(self._deferred.until_ms)
        if self._may_explore():
            times.append(self._exploration.due_at_ms)
        return min(times, default=None)

    @property
    def profile(self) -> Profile | None:
        """The device as it was last measured; None before the first `ModelReady`."""
        return self._live.profile if self._live else None

    def plan_from(self, cut: int, budget: Budget | None = None) -> Plan:
        """The plan that a request standing at a cut should follow.

        That is the plan in force, or, where the request is past its cut, the best of those that are still open. A policy that
        allows none of them (a fixed one) lets the request go as far as this device can take it within the budget.

        Args:
            cut: where the request stands.
            budget: of this request; None = the one in force.

        Raises:
            NoFeasiblePlan: there is no model yet, or `budget` excludes every plan.
        """
        if self.table is None or self.plan is None:
            raise NoFeasiblePlan("no model is ready")
        if budget is None and self.plan.cut >= cut:
            return self.plan
        still_open = self.table.beyond(cut)
        try:
            return self.policy.decide(still_open, self.conditions, budget or self.budget, self.plan).plan
        except NoFeasiblePlan:
            if cut == 0:
                raise
            return _farthest(still_open, budget or self.budget)

    def predicted(self, plan: Plan) -> Cost:
        """What a plan would cost under the present conditions, at the median rate of the link.

        Raises:
            ValueError: the table has no such plan.
        """
        offer = self._offer(plan)
        if offer is None:
            raise ValueError(f"there is no plan {plan} on this device")
        seen = self.conditions
        return predict(offer, seen if seen.uplink else replace(seen, uplink=ASSUMED_UPLINK), self._power)

    def reply_ms(self, cut: int, nbytes: int) -> float:
        """How long the reply to so many bytes should take under the present conditions, at the median rate of the link.

        Unlike `predicted` it is of one request: a batch or a large picture is not of the bytes that samples had.
        """
        seen, profile = self.conditions, self.profile
        link = seen.uplink or ASSUMED_UPLINK
        tail_ms = profile.tail_ms[cut] if profile is not None and cut < len(profile.tail_ms) else 0.0
        return link.rtt_ms + 8e3 * nbytes / link.rate_bps + (seen.queue_ms or 0.0) + seen.tail_scale * tail_ms

    def may_race(self, budget: Budget) -> bool:
        """Whether the battery, the share of races and the budget let the device compute everything to be in time.

        To race is a choice, unlike to resume.
        """
        if self.table is None or not hedges(replace(self.conditions, hedged=self._hedges.left), budget):
            return False
        return any(offer.local and objection(offer, budget) is None for offer in self.table.offers)

    def rest_ms(self, cut: int) -> float:
        """What the device needs from a cut on to finish alone, as it was last measured."""
        profile = self.profile
        return profile.head_ms(len(profile.segment_ms)) - profile.head_ms(cut) if profile else 0.0

    def wake(self, now_ms: float) -> list[Event]:
        """Does what had to wait. Calling it too early or for nothing is harmless."""
        said: list[Event] = []
        if self._deferred is not None and now_ms >= self._deferred.until_ms:
            said = self._decide(self._deferred.cause, now_ms)
        return said + self._explore(now_ms)

    def handle(self, event: Event, now_ms: float) -> list[Event]:
        """Takes an event in.

        Args:
            event: any; those that say nothing about the conditions are ignored.
            now_ms: monotonic.

        Returns:
            `PlanChanged`, `InputsDrifted` and `ProbeDue`, to be told and done in this order.

        Raises:
            NoFeasiblePlan: only from `ModelReady` and `BudgetSet`: no plan of that model is within that budget. The event then
                has changed nothing: the old model, budget and plan stay in force.
        """
        match event:
            case ModelReady():
                said = self._model_ready(event, now_ms)
            case BudgetSet(budget):
                said = self._budget_set(budget, now_ms)
            case LinkChanged():
                said = self._link_changed(event, now_ms)
            case Transferred():
                said = self._transferred(event, now_ms)
            case PowerRead(battery, charging):
                said = self._power_read(battery, charging, now_ms)
            case LoadReported(queue_ms, tail_scale):
                said = self._load_reported(queue_ms, tail_scale, now_ms)
            case RequestRefused():
                said = self._load_reported(max(self._load.queue_ms, REFUSED_QUEUE_MS), None, now_ms)
            case Requested():
                said = self._requested(now_ms)
            case Inferred():
                said = self._inferred(event, now_ms)
            case Woken():
                return self.wake(now_ms)
            case _:
                return []
        return said + self._explore(now_ms)

    # What each event does.

    def _model_ready(self, event: ModelReady, now_ms: float) -> list[Event]:
        table = Table(offers(event.model, event.profile, event.scorecard), self._power)
        self.policy.decide(table, self.conditions, self.budget)  # raises before anything is changed
        self.table, self.plan, self._alone = table, None, False
        self._ready, self._live, self._drift = event, LiveProfile(event.profile), Drift()
        return self._decide("start", now_ms, forced=True)

    def _budget_set(self, budget: Budget, now_ms: float) -> list[Event]:
        if self.table is not None:
            self.policy.decide(self.table, self.conditions, budget)  # raises before anything is changed
        self.budget, self._battery = budget, self._battery.aim(budget, now_ms)
        return self._decide("budget", now_ms, forced=True)

    def _link_changed(self, event: LinkChanged, now_ms: float) -> list[Event]:
        seen = self.conditions
        metered = seen.metered if event.metered is None else event.metered
        self.conditions = replace(seen, link_up=event.up, metered=metered, radio=event.radio or seen.radio)
        self._radio = self._power.radio(self.conditions.radio)
        if event.network is not None and event.network != self._network:
            self._remember()
            self._network = event.network
            self._belief = self._belief.elsewhere(self.priors.get(event.network), now_ms)
        elif event.up:
            self._belief = self._belief.network_changed()
        if event.up:
            self._opening = self._opening.fresh()
            if seen.link_up is False and now_ms - self._lost_at_ms >= OUTAGE_MS:
                self._load = self._load.reconnected()
        elif seen.link_up is not False:
            self._lost_at_ms = now_ms
        said = self._decide("link", now_ms, forced=True)
        if event.up:
            self._exploration.restart(now_ms)
        return said

    def _transferred(self, event: Transferred, now_ms: float) -> list[Event]:
        if not (0 <= event.nbytes <= BYTES_MAX and isfinite(event.elapsed_ms)):
            return []
        if not event.complete:
            # Nobody said how much of the time was the cloud's: what it was expected to take is not the link's.
            event = replace(event, elapsed_ms=event.elapsed_ms - self._expected_cloud_ms())
        began_ms = now_ms - event.elapsed_ms
        slept = self._radio.sleeps(began_ms - self._opening.used_at_ms)
        known, link = event, self._belief.uplink(began_ms)
        opening_ms = 0.0 if link is None else self._opening.ms(event.nbytes, link, self._radio, slept)
        if 0.0 < opening_ms < event.elapsed_ms:
            known = replace(event, elapsed_ms=event.elapsed_ms - opening_ms)
        self._opening = self._opening.took(event, link, self._radio if slept else None, now_ms)
        if event.complete or opening_ms < event.elapsed_ms:  # else it was broken off before it could begin
            self._belief = self._belief.observe(known, now_ms)
        explored = self._exploration.answered() and self._alone
        if self._belief.surprised:
            self._exploration.restart(now_ms)  # this is not the link that we knew
        self._remember()
        if not self._alone and self._deferred is None and self._is_as_decided(now_ms):
            return []
        return self._decide("explore" if explored else "link", now_ms)

    def _power_read(self, battery: float | None, charging: bool | None, now_ms: float) -> list[Event]:
        before = self.conditions
        level = None if battery is None or battery != battery else min(max(battery, 0.0), 1.0)
        self._idle(now_ms)
        known = self._battery.level is not None
        self._battery = self._battery.read(level, charging, now_ms)
        if not known:
            self._battery = self._battery.aim(self.budget, now_ms)
        after = replace(before, battery=level, charging=charging)
        self.conditions = replace(after, saver=in_saver(after))
        return self._decide("battery", now_ms, forced=_regime(before) != _regime(self.conditions))

    def _load_reported(self, queue_ms: float, tail_scale: float | None, now_ms: float) -> list[Event]:
        seen = self.conditions
        self._load = self._load.heard(queue_ms, tail_scale, now_ms)
        changed_ms = abs(self._load.queue_ms - (seen.queue_ms or 0.0))
        if changed_ms < LOAD_STEP_MS and abs(self._load.tail_scale - seen.tail_scale) < LOAD_STEP * seen.tail_scale:
            return []  # the transfer that is told beside it decides
        return self._decide("load", now_ms)

    def _inferred(self, event: Inferred, now_ms: float) -> list[Event]:
        if self._ready is None or self._live is None:
            return []
        said = self._inputs_seen(event, now_ms)
        self._idle(now_ms)
        if self._battery.level is not None:
            self._battery = self._battery.spent(event.cost.energy_mj or 0.0)
        if event.outcome in (Outcome.REMOTE, Outcome.RACED_REMOTE):
            self._answered(event, now_ms)
        elif event.outcome is Outcome.RESUMED:
            self._unanswered(event, now_ms)
        if event.outcome is Outcome.RACED_LOCAL:
            self._hedges = self._hedges.spent(1.0, 1.0)
        elif event.outcome is Outcome.RACED_REMOTE:
            self._hedges = self._hedges.spent(event.raced_ms, self.rest_ms(event.plan.cut))
        if not self._live.observe(event.plan, event.segment_ms, None if event.departed else event.cost.encode_ms):
            return said
        self.table = Table(offers(self._ready.model, self._live.profile, self._ready.scorecard), self._power)
        return said + self._decide("profile", now_ms)

    def _inputs_seen(self, event: Inferred, now_ms: float) -> list[Event]:
        """Whether inputs are like the samples shows only where floats were coded with loss."""
        offer = self._offer(event.plan)
        if self._ready is None or offer is None or offer.lossless or event.outcome is Outcome.LOCAL:
            return []
        if all(tensor.lossless_only for tensor in self._ready.model.cuts[event.plan.cut].tensors):
            return []
        rested = self._drift.rests(now_ms)
        self._drift = self._drift.saw(bool(event.departed), now_ms)
        if rested or not self._drift.rests(now_ms):
            return []
        return [InputsDrifted(event.plan, event.departed), *self._decide("drift", now_ms)]

    def _answered(self, event: Inferred, now_ms: float) -> None:
        """Holds what the cloud says of itself against the device's own clock."""
        measured_ms = event.cost.remote_ms
        if self.table is not None and self._learner is not None:
            self.policy = self._learner = self._learner.learnt(self.table, event.plan, measured_ms)
        if self._offer(event.plan) is not None:
            self._load = self._load.answered(measured_ms, self.predicted(event.plan).remote_ms, now_ms)

    def _unanswered(self, event: Inferred, now_ms: float) -> None:
        """A cloud that lets its answers be waited for in vain is a busy one, whatever the link is like."""
        waited_ms, cost = event.cost.uplink_ms, self.predicted(event.plan) if self._offer(event.plan) is not None else None
        if cost is not None and waited_ms > cost.remote_ms:
            self._load = self._load.answered(waited_ms, cost.remote_ms, now_ms)

    def _requested(self, now_ms: float) -> list[Event]:
        self._exploration.requested = True
        self._hedges = self._hedges.earned(self.budget.hedge_max_share)
        gap_ms = min(max(now_ms - self._requested_at_ms, 0.0), AWAKE_MS)
        self._gap_ms += GAP_WEIGHT * (gap_ms - self._gap_ms)
        self._requested_at_ms = now_ms
        unprotected = self.conditions.hedged and not self._hedges.whole
        if now_ms - self._decided_at_ms < RECONSIDER_MS and not unprotected:
            return []
        return self._decide("load" if self._load.queue_ms else "link", now_ms, urgent=unprotected)

    # What they have in common.

    def _decide(self, cause: str, now_ms: float, forced: bool = False, urgent: bool = False) -> list[Event]:
        """Asks the policy, and follows it: at once if the world forces it to, else when the plan has stood long enough.

        What is urgent waits for nothing but the limit of changes in a minute.
        """
        load, drifted = self._load.at(now_ms), self._drift.rests(now_ms)
        if drifted != self.conditions.drifted:
            cause, forced = cause if forced else "drift", True
        idle_ms = now_ms - self._opening.used_at_ms
        seen, link = self.conditions, self._belief.uplink(now_ms)
        self.conditions = Conditions(
            link_up=seen.link_up,
            uplink=None if link is None else self._opening.seen(link, self._radio, self._radio.sleeps(idle_ms)),
            queue_ms=load.queue_ms + load.unexplained_ms,
            tail_scale=load.tail_scale,
            battery=seen.battery,
            charging=seen.charging,
            metered=seen.metered,
            saver=seen.saver,
            drifted=drifted,
            radio=seen.radio,
            radio_idle_ms=idle_ms,
            opening_share=min(self._gap_ms / AWAKE_MS, 1.0),
            hedged=self._hedges.whole,
            joule_s=self._battery.joule_s(now_ms),
        )
        if self.table is None:
            return []
        self._decided_at_ms, self._deferred = now_ms, None
        self._decisions += 1
        decision = self.policy.decide(self.table, self.conditions, self.budget, self.plan, self._draw())
        if decision.plan == self.plan:
            return []
        urgent = urgent or (self._is_exposed() and self.table.offers[self.table.rows[decision.plan]].local)
        ready_at_ms = self._pace.ready_at_ms(self._is_clear(self.table, decision), urgent)
        if not forced and now_ms < ready_at_ms:
            self._deferred = Deferred(cause, ready_at_ms)
            return []
        cause = self._root(cause)
        old, self.plan, self._chosen_under = self.plan, decision.plan, self.conditions
        self._alone = self.table.offers[self.table.rows[decision.plan]].local
        self._pace.changed(now_ms, forced or urgent)
        if self._alone:
            self._exploration.restart(now_ms + PROBE_GAP_MS)
        return [PlanChanged(old, decision.plan, cause, decision.reason)]

    def _is_clear(self, table: Table, decision: Decision) -> bool:
        """Whether a decision is clearly better than the plan in force; it is where nothing was weighed."""
        row = None if self.plan is None else table.rows.get(self.plan)
        if row is None or not len(decision.scores):
            return True
        return bool(decision.scores[table.rows[decision.plan]] < (1 - CLEAR_GAIN) * decision.scores[row])

    def _is_as_decided(self, now_ms: float) -> bool:
        """Whether the link is what it was when the plan was looked at last."""
        then, now = self.conditions.uplink, self._belief.uplink(now_ms)
        if then is None or now is None or then.window_bytes is not None or then.wake_ms:
            return False
        pairs = (then.rate_bps, now.rate_bps), (then.rtt_ms, now.rtt_ms), (then.spread, now.spread)
        return all(abs(after - before) <= LINK_STEP * before for before, after in pairs)

    def _is_exposed(self) -> bool:
        """Whether there is a deadline that no race protects: then the way home is not waited for."""
        return self.budget.latency_ms is not None and not self.conditions.hedged

    def _draw(self) -> float:
        """One a decision, so that a recorded log replays exactly."""
        return uniform(self._seed, self._decisions)

    def _root(self, cause: str) -> str:
        """A battery drains in steps too small to change the plan; when it shows at another event, it is still the cause."""
        then, now = self._chosen_under, self.conditions
        if self.table is None or self.plan is None or cause == "budget" or price(then) == price(now):
            return cause
        as_then = replace(now, battery=then.battery, charging=then.charging, saver=then.saver, joule_s=then.joule_s)
        undone = self.policy.decide(self.table, as_then, self.budget, self.plan, self._draw()).plan == self.plan
        return "battery" if undone else cause

    def _explore(self, now_ms: float) -> list[Event]:
        """Asks for probes if they are due, allowed, and could change the plan."""
        if self.table is None or now_ms < self._exploration.due_at_ms or not self._may_explore():
            return []
        hoped_for = replace(self.conditions, uplink=PERFECT_UPLINK)
        if self.policy.decide(self.table, hoped_for, self.budget).plan == self.plan:
            self._exploration.postpone(now_ms)
            return []
        return self._exploration.probe(now_ms)

    def _may_explore(self) -> bool:
        """Whether a probe is worth its energy: a dear link is explored by requests alone."""
        seen = self.conditions
        if not self._exploration.requested or self.plan is None or seen.link_up is False:
            return False
        if seen.metered or in_saver(seen) or is_critical(seen) or self._radio.tail_ms > PROBE_TAIL_MAX_MS:
            return False
        link = seen.uplink or ASSUMED_UPLINK
        return self._alone or (link.spread if link.doubt is None else link.doubt) > WELL_KNOWN_DOUBT

    def _expected_cloud_ms(self) -> float:
        if self.plan is None or self._alone:
            return 0.0
        cost = self.predicted(self.plan)
        return cost.queue_ms + cost.tail_ms + cost.decode_ms

    def _remember(self) -> None:
        """Keeps what was learnt of this network for the next time."""
        prior = self._belief.prior()
        if self._network is not None and prior is not None:
            self.priors[self._network] = prior

    def _idle(self, now_ms: float) -> None:
        """The device's own draw since the last time."""
        if self._battery.level is not None:
            self._battery = self._battery.spent(self._power.idle_w * max(now_ms - self._idle_to_ms, 0.0))
        self._idle_to_ms = now_ms

    def _offer(self, plan: Plan | None) -> Offer | None:
        row = None if self.table is None or plan is None else self.table.rows.get(plan)
        return None if self.table is None or row is None else self.table.offers[row]


def _farthest(table: Table, budget: Budget) -> Plan:
    """The last plan without an objection; where the budget allows none, the last that can be carried out."""
    possible = [offer for offer in table.offers if not offer.missing]
    allowed = [offer for offer in possible if objection(offer, budget) is None]
    return (allowed or possible)[-1].plan


def _regime(conditions: Conditions) -> tuple[bool, bool, bool]:
    return price(conditions) > 0, in_saver(conditions), is_critical(conditions)
