"""Plans and what they cost: the table that policies choose from, and the one formula that fills it.

A plan is (cut, codec). This module knows no clock, no link estimator and no policy; rates, times and charge are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import inf

from splitinfer.codec import Codec, codec, codecs_for, picture
from splitinfer.energy import Power
from splitinfer.errors import UnknownCodec
from splitinfer.model import Cut, Digest, Model

NOTHING = "none"
"""Codec id of the plan at cut n, where nothing crosses."""


@dataclass(frozen=True, slots=True, order=True)
class Plan:
    """What is chosen, nothing more: where to hand over, and how the tensors are coded."""

    cut: int
    codec: str

    def __str__(self) -> str:
        return f"{self.cut}/{self.codec}"

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Reads "CUT/CODEC"."""
        cut, _, codec = text.partition("/")
        if not cut.isdigit() or not codec:
            raise ValueError(f"a plan is written CUT/CODEC, for example 2/int8+zstd1; got {text!r}")
        return cls(int(cut), codec)


@dataclass(frozen=True, slots=True)
class Cost:
    """Times of the stages of one request, its energy and its bytes. The same type for profile, prediction and measurement.

    Attributes:
        head_ms: segments on the device.
        encode_ms: device.
        uplink_ms: until the server has everything, one-way delay included.
        queue_ms: waiting in the cloud.
        tail_ms: segments in the cloud, decoding and encoding there included in decode_ms.
        downlink_ms: reply on its way.
        decode_ms: cloud's decoding, and decoding of the reply.
        energy_mj: of the device, modelled (`Power`); None = unknown.
        uplink_bytes: what crossed.
    """

    head_ms: float = 0.0
    encode_ms: float = 0.0
    uplink_ms: float = 0.0
    queue_ms: float = 0.0
    tail_ms: float = 0.0
    downlink_ms: float = 0.0
    decode_ms: float = 0.0
    energy_mj: float | None = None
    uplink_bytes: int = 0

    @property
    def latency_ms(self) -> float:
        """Sum of the stages."""
        return self.head_ms + self.encode_ms + self.uplink_ms + self.queue_ms + self.tail_ms + self.downlink_ms + self.decode_ms

    @property
    def remote_ms(self) -> float:
        """Sum of the stages after the hand-over."""
        return self.uplink_ms + self.queue_ms + self.tail_ms + self.downlink_ms + self.decode_ms

    def with_energy(self, energy_mj: float | None) -> Cost:
        """The same times and bytes."""
        return Cost(
            self.head_ms,
            self.encode_ms,
            self.uplink_ms,
            self.queue_ms,
            self.tail_ms,
            self.downlink_ms,
            self.decode_ms,
            energy_mj,
            self.uplink_bytes,
        )


@dataclass(frozen=True)
class Profile:
    """Measured times without the link: one (model, device, engine).

    Attributes:
        digest: of the bundle.
        device: what was measured, for people.
        engine: `Engine.name`.
        segment_ms: of each segment on the device; None = not held there.
        encode_ms: plan -> device time to encode.
        decode_ms: plan -> cloud time to decode.
        tail_ms: for each cut, the cloud's time for the rest.
        peak_bytes: for each cut, the resident memory that loading and running the segments before it takes; None = unknown.
        source: "reference" (the machine that built the bundle) or "measured" (here).
    """

    digest: Digest
    device: str
    engine: str
    segment_ms: tuple[float | None, ...]
    encode_ms: Mapping[Plan, float] = field(default_factory=dict)
    decode_ms: Mapping[Plan, float] = field(default_factory=dict)
    tail_ms: tuple[float, ...] = ()
    peak_bytes: tuple[int | None, ...] = ()
    source: str = "reference"

    def head_ms(self, cut: int) -> float:
        """Device time up to a cut. Segments that are not held count as 0: there is an objection to such plans."""
        return sum(ms or 0.0 for ms in self.segment_ms[:cut])

    def memory_bytes(self, cut: int) -> int | None:
        """Memory that the segments up to a cut take; None = unknown."""
        return self.peak_bytes[cut] if cut < len(self.peak_bytes) else None

    def cost(self, plan: Plan) -> Cost:
        """The stages that do not depend on the link."""
        return Cost(
            head_ms=self.head_ms(plan.cut),
            encode_ms=self.encode_ms.get(plan, 0.0),
            tail_ms=self.tail_ms[plan.cut] if plan.cut < len(self.tail_ms) else 0.0,
            decode_ms=self.decode_ms.get(plan, 0.0),
        )

    def slowed(self, factor: float) -> Profile:
        """The same model on a device `factor` times slower (the cloud stays as it is)."""
        return replace(
            self,
            segment_ms=tuple(None if ms is None else ms * factor for ms in self.segment_ms),
            encode_ms={plan: ms * factor for plan, ms in self.encode_ms.items()},
        )


@dataclass(frozen=True, slots=True)
class Leak:
    """How well the input could be rebuilt from what crosses, measured at build time.

    A lower bound: it says what one simple attacker got (docs/privacy.md), a better one gets more.

    Attributes:
        psnr_db: of the rebuilt inputs; 100 = exact.
        ssim: structural similarity of the rebuilt pictures, 1 = the same; None = the input is no picture.
        baseline_psnr_db: of the attacker who sees nothing and guesses the mean of the inputs that he knows.
        baseline_ssim: the same guess.
        n: number of inputs that were rebuilt.
    """

    psnr_db: float
    ssim: float | None
    baseline_psnr_db: float
    baseline_ssim: float | None
    n: int


@dataclass(frozen=True, slots=True)
class PlanScore:
    """What a plan does to bytes and answers, measured on samples at build time.

    Attributes:
        bytes_p50: median bytes on the wire (batch 1).
        bytes_p95: 95th percentile.
        accuracy_loss: drop of the task metric where labels were given, else the share of answers that differ; None = not
            measured.
        accuracy_loss_bound: one-sided 95 % upper bound of it.
        n: number of samples behind both.
        output_error: max|d| / max|y| over the samples, worst output; None = not measured.
        divergence: mean of an item, between the answers and the uncut model's: Kullback-Leibler, in nats, where a classifier
            gives scores or shares; else squared error over squared size. None = not measured.
        groups: number of groups that the samples belong to (crops of one photo), each of which counts as one; 0 = each sample
            stands for itself.
        leak_at_least: how well the input can be rebuilt from what crosses; None = not measured.
    """

    bytes_p50: int
    bytes_p95: int
    accuracy_loss: float | None = None
    accuracy_loss_bound: float | None = None
    n: int = 0
    output_error: float | None = None
    divergence: float | None = None
    groups: int = 0
    leak_at_least: Leak | None = None


@dataclass(frozen=True)
class Scorecard:
    """Plan -> score, for one bundle.

    Attributes:
        digest: of the bundle.
        scores: of the plans that are worth keeping.
        metric: what accuracy_loss means.
        dropped: how many plans were measured and are not kept, since another one of the same cut is worse in nothing.
    """

    digest: Digest
    scores: Mapping[Plan, PlanScore]
    metric: str = "agreement"
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Uplink:
    """What is believed of the link now: a log-normal distribution of its rate, and its delay.

    Attributes:
        rate_bps: median.
        spread: standard deviation of ln(rate), as the next upload will meet it.
        rtt_ms: round trip of a tiny message.
        window_bytes: what a fresh connection sends before it waits for the first acknowledgement, then twice as much, and so on
            (slow start); None = the connection is warm.
        wake_ms: until a sleeping radio lets the first byte go.
        doubt: the part of the spread that another measurement would settle; None = all of it.
    """

    rate_bps: float
    spread: float
    rtt_ms: float
    window_bytes: float | None = None
    wake_ms: float = 0.0
    doubt: float | None = None

    def opening_ms(self, nbytes: float, rate_bps: float | None = None) -> float:
        """What slow start and a sleeping radio add to the time of an upload: a round trip for each window, less its sending."""
        if self.window_bytes is None:
            return self.wake_ms
        waited_ms, window, ms_per_byte = 0.0, self.window_bytes, 8e3 / (rate_bps or self.rate_bps)
        while nbytes > window and window * ms_per_byte < self.rtt_ms:
            waited_ms += self.rtt_ms - window * ms_per_byte
            nbytes -= window
            window *= 2
        return self.wake_ms + waited_ms


ASSUMED_UPLINK = Uplink(rate_bps=10e6, spread=1.0, rtt_ms=50.0)
"""What is assumed of a link that nobody measured yet: good enough to be worth a try, known badly enough to be given up soon."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The world as a policy sees it. None = unknown.

    Attributes:
        link_up: False = known to be dead.
        uplink: None = nothing measured yet.
        queue_ms: waiting time in the cloud.
        tail_scale: the cloud's measured tail time over the profile's.
        battery: charge, 0..1; None = mains or unknown.
        charging: on a charger.
        metered: the user pays by volume.
        saver: the battery saver was on before; what leaves it is a higher charge than what enters it.
        drifted: inputs are unlike the samples that lossy plans were measured on.
        radio: kind of link, as `Power.radios` names it.
        radio_idle_ms: since the last upload ended: what decides how much of a tail the next one adds.
        opening_share: of what a fresh connection and a sleeping radio cost, how much is charged to one request when plans are
            weighed: those that follow soon find both awake.
        hedged: whether a request may be computed twice now, as far as the share of them goes.
        joule_s: seconds that a joule is worth so that the battery lasts as long as the budget says; None = it says nothing.
    """

    link_up: bool | None = None
    uplink: Uplink | None = None
    queue_ms: float | None = None
    tail_scale: float = 1.0
    battery: float | None = None
    charging: bool | None = None
    metered: bool | None = None
    saver: bool = False
    drifted: bool = False
    radio: str | None = None
    radio_idle_ms: float = 0.0
    opening_share: float = 1.0
    hedged: bool = True
    joule_s: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What the application may spend. None = no limit.

    Attributes:
        latency_ms: per request.
        accuracy_loss_max: share of answers that may change (or drop of the metric).
        strict: compare the 95 % bound, not the estimate.
        energy_mj: per request.
        uplink_bytes: per request.
        depth_min: privacy floor: at least this share of the compute stays on the device before anything crosses.
        hedge_max_share: share of requests that may be computed twice to meet a deadline.
        memory_bytes: what segments may take on the device. No plan that takes more is chosen, nor raced; but a request that the
            cloud failed is finished here from what is held all the same: an answer counts more.
        battery_lasts_ms: from the moment that this budget is set, the battery should last so long.
        battery_share_per_h: or: what the battery may lose in an hour, 0..1.
        joule_s: seconds of latency that a joule is worth at least, whatever the battery says.

    Raises:
        ValueError: a limit is below 0, infinite or not a number.
    """

    latency_ms: float | None = None
    accuracy_loss_max: float = 0.01
    strict: bool = False
    energy_mj: float | None = None
    uplink_bytes: int | None = None
    depth_min: float = 0.0
    hedge_max_share: float = 0.1
    memory_bytes: int | None = None
    battery_lasts_ms: float | None = None
    battery_share_per_h: float | None = None
    joule_s: float = 0.0

    def __post_init__(self) -> None:
        for limited in fields(self):
            limit = getattr(self, limited.name)
            if limit is not None and not 0 <= limit < inf:
                raise ValueError(f"{limited.name} of a budget must be a finite number of at least 0, got {limit}")


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan with all that is known of it before the link is: one row of the table a policy chooses from.

    Attributes:
        plan: which.
        cost: without the link.
        score: bytes and accuracy.
        depth: share of the compute that stays on the device.
        local: whether it needs no cloud.
        missing: segments that it needs and that are not held here.
        memory_bytes: what its segments take on the device; None = unknown.
        lossless: whether what crosses arrives as it is, or nothing crosses.
    """

    plan: Plan
    cost: Cost
    score: PlanScore
    depth: float
    local: bool
    missing: tuple[int, ...] = ()
    memory_bytes: int | None = None
    lossless: bool = False


def offers(model: Model, profile: Profile, scorecard: Scorecard) -> tuple[Offer, ...]:
    """Every plan of the model, cheapest cut first, the local one last; `objection` says which this device cannot carry out.

    Those are the plans of the scorecard whose codecs are installed here. Without a row only lossless codecs are offered, with
    their plain size, and `half` where nothing was measured on samples.
    """
    rows: list[Offer] = []
    measured = any(score.n for score in scorecard.scores.values())
    for cut in model.cuts[:-1]:
        missing, memory_bytes = model.missing(cut.index), profile.memory_bytes(cut.index)
        for found in _codecs(cut, model.image_input if cut.index == 0 else None, scorecard):
            plan = Plan(cut.index, found.id)
            score = scorecard.scores.get(plan)
            if score is None and not (found.lossless or (found.id == "half" and not measured)):
                continue
            score = score or PlanScore(cut.nbytes, cut.nbytes, accuracy_loss=0.0 if found.lossless else None)
            rows.append(Offer(plan, profile.cost(plan), score, cut.depth, False, missing, memory_bytes, found.lossless))
    plan = Plan(model.n, NOTHING)
    exact = PlanScore(0, 0, accuracy_loss=0.0, accuracy_loss_bound=0.0, output_error=0.0)
    rows.append(Offer(plan, profile.cost(plan), exact, 1.0, True, model.missing(model.n), profile.memory_bytes(model.n), True))
    return tuple(rows)


def _codecs(cut: Cut, image: str | None, scorecard: Scorecard) -> list[Codec]:
    """Those that suit the cut, then others that the build has measured there (a third party's, another step)."""
    suited = codecs_for(cut, image)
    known = {found.id for found in suited}
    others = (_installed(plan.codec) for plan in scorecard.scores if plan.cut == cut.index and plan.codec not in known)
    return [*suited, *(found for found in others if found is not None)]


def _installed(codec_id: str) -> Codec | None:
    try:
        found = codec(codec_id)
    except UnknownCodec:
        return None
    return None if isinstance(found, picture.PictureCodec) and not found.installed() else found


def objection(offer: Offer, budget: Budget) -> str | None:
    """Why this plan cannot be taken whatever the link does; None where it can.

    What was not measured (the loss of `half` in a bundle that was built without samples, memory where the system does not tell)
    excludes a plan from a strict budget only.
    """
    if offer.missing:
        return f"{_listed(offer.missing)} not held here"
    score = offer.score
    loss = score.accuracy_loss_bound if budget.strict else score.accuracy_loss
    if budget.memory_bytes is not None:
        if offer.memory_bytes is None and budget.strict:
            return "its memory was not measured"
        if offer.memory_bytes is not None and offer.memory_bytes > budget.memory_bytes:
            return f"needs {megabytes(offer.memory_bytes)} of memory, the budget has {megabytes(budget.memory_bytes)}"
    if not offer.local:
        if offer.depth < budget.depth_min:
            return f"depth {offer.depth:.2f} is below depth_min {budget.depth_min:.2f}"
        if budget.uplink_bytes is not None and score.bytes_p50 > budget.uplink_bytes:
            return f"{score.bytes_p50} bytes exceed {budget.uplink_bytes}"
        if loss is None:
            return "its accuracy loss was not measured" if budget.strict else None
        if loss > budget.accuracy_loss_max:
            return f"accuracy loss {loss:.4f} exceeds {budget.accuracy_loss_max:.4f}"
    return None


def predict(offer: Offer, conditions: Conditions, power: Power, rate_bps: float | None = None) -> Cost:
    """Expected cost of a plan.

    uplink = rtt/2 + 8 * bytes / rate, and what a fresh connection or a sleeping radio adds; downlink = rtt/2: the delay is
    taken out of the rate (see `estimate`).

    Args:
        offer: the plan.
        conditions: the world; an unknown link counts as infinitely slow.
        power: energy model.
        rate_bps: assume this rate instead of the median.
    """
    base = offer.cost
    compute_ms = base.head_ms + base.encode_ms
    if offer.local:
        return base.with_energy(power.energy_mj(compute_ms, 0.0, 0))
    uplink = conditions.uplink
    nbytes = offer.score.bytes_p50
    if uplink is None:
        return replace(base, uplink_ms=inf, energy_mj=None, uplink_bytes=nbytes)
    send_ms = 8e3 * nbytes / (rate_bps or uplink.rate_bps)
    return Cost(
        head_ms=base.head_ms,
        encode_ms=base.encode_ms,
        uplink_ms=uplink.rtt_ms / 2 + uplink.opening_ms(nbytes, rate_bps) + send_ms,
        queue_ms=conditions.queue_ms or 0.0,
        tail_ms=base.tail_ms * conditions.tail_scale,
        downlink_ms=uplink.rtt_ms / 2,
        decode_ms=base.decode_ms,
        energy_mj=power.energy_mj(compute_ms, send_ms, nbytes, conditions.radio, conditions.radio_idle_ms),
        uplink_bytes=nbytes,
    )


def _listed(segments: Sequence[int]) -> str:
    """Indices and a verb: segment 3 is, segments 3..5 are, segments 1, 3 are."""
    first, last = segments[0], segments[-1]
    if first == last:
        return f"segment {first} is"
    return f"segments {first}..{last} are" if last - first < len(segments) else f"segments {', '.join(map(str, segments))} are"


def megabytes(nbytes: int) -> str:
    """Bytes for people (1 MB = 1 000 000 bytes), exact enough to be compared with a limit."""
    return f"{round(nbytes / 1e6, 1 if nbytes >= 10e6 else 3):g} MB"


def lookup(table: Sequence[Offer], plan: Plan) -> Offer | None:
    """The row of a plan."""
    return next((offer for offer in table if offer.plan == plan), None)
