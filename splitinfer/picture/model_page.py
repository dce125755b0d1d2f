"""The page of a bundle: the model drawn, its plans, its times, and all of it once more as tables."""

from __future__ import annotations

from collections.abc import Iterator

from splitinfer.bundle import FRONTIER_GRID, Bundle, frontier_loss
from splitinfer.model import Cut, Model, TensorSpec
from splitinfer.picture.boundaries import boundaries_plot, boundaries_table
from splitinfer.picture.leaks import at_least
from splitinfer.picture.markup import Markup, tag
from splitinfer.picture.numbers import UNKNOWN, brief, millis, shape, share, size
from splitinfer.picture.page import facts, note, page, table
from splitinfer.picture.rates import PANELS, rates_plot
from splitinfer.picture.scores import plans_plot, times_plot
from splitinfer.picture.strip import reading, strip
from splitinfer.plan import Leak, PlanScore, Profile, Scorecard

ROWS_SHOWN = 120
"""A longer table of plans is folded away."""
SAME_INPUTS = "agreement"
LEAKS = (
    "Leaks: how like the input is what a simple attacker rebuilt from what crosses, 1 = the same; the line on the meter is a "
    "guess without looking. A lower bound: a trained network rebuilds more. Splitting a model is not privacy."
)


def model_page(bundle: Bundle) -> str:
    """Draws a bundle.

    Returns:
        One HTML document that needs nothing else.
    """
    return page(f"{bundle.model.name}@{bundle.model.version}", _parts(bundle))


def _parts(bundle: Bundle) -> Iterator[Markup]:
    model, scorecard, profile = bundle.model, bundle.scorecard, bundle.profile
    yield tag("h1", f"{model.name}@{model.version}")
    yield tag("p", "digest ", tag("code", model.digest[:12], title=model.digest), class_="soft")
    yield facts(_facts(bundle))
    yield tag("h2", "The model and its cuts")
    yield tag(
        "p",
        "What stands left of the chosen cut runs on the device, the rest in the cloud. "
        f"At cut 0 the input crosses (cloud only), at cut {model.n} nothing does (device only).",
    )
    yield strip(model, profile)
    yield note(reading(model))
    yield from _boundaries(bundle)
    yield from _plans(model, scorecard)
    yield from _rates(model, scorecard)
    yield from _times(model, profile)
    yield tag("h2", "All cuts")
    yield _cut_table(model, profile)
    if scorecard is not None and scorecard.scores:
        yield tag("h2", "All plans")
        yield _plan_table(scorecard, profile)


def _facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    model, profile = bundle.model, bundle.profile
    yield "inputs", _specs(model.inputs) + (" (an image)" if model.image_input else "")
    yield "outputs", _specs(model.outputs)
    held = "all" if model.whole else f"{', '.join(map(str, sorted(model.holds)))} of {model.n}: no answer without the cloud"
    yield "segments held", held
    yield "on disk", size(bundle.nbytes)
    if profile is not None:
        yield "profile", f"{profile.device}, {profile.engine} ({profile.source})"


def _specs(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {shape(spec)}" for spec in specs)


def _boundaries(bundle: Bundle) -> Iterator[Markup]:
    boundaries = bundle.boundaries()
    if not boundaries:
        return
    yield tag("h2", "Every place where it could be cut")
    yield tag(
        "p",
        "A good place for a cut is low (few bytes cross) and far left (the device computes little). "
        "Rest the pointer on a mark for the reason why it was kept, or why not.",
    )
    yield boundaries_plot(boundaries)
    if (lost := frontier_loss(bundle.info.build)) is not None:
        mean, worst = map(share, lost)
        yield note(
            f"With these cuts the latency is {mean} above that with every boundary, at worst {worst}: by operations counted, "
            f"for {FRONTIER_GRID}."
        )
    yield boundaries_table(boundaries)


def _plans(model: Model, scorecard: Scorecard | None) -> Iterator[Markup]:
    yield tag("h2", "Bytes of the plans")
    if scorecard is None or not scorecard.scores:
        yield tag("p", "This bundle has no scorecard: no plan was measured. Build it with samples to get one.")
        return
    yield tag(
        "p",
        "A plan is a cut and a codec. It is worth something where it lies below the coded input, "
        "for the price of the head's time.",
    )
    yield plans_plot(model, scorecard)
    yield note(_meaning(scorecard))


def _meaning(scorecard: Scorecard) -> str:
    counts = sorted({score.n for score in scorecard.scores.values() if score.n})
    if not counts:
        return "Answers were not compared: the bundle was built without samples."
    samples = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    if scorecard.metric == SAME_INPUTS:
        what = "the share of answers that differ from the uncut model's"
    else:
        what = f"the drop of the metric {scorecard.metric}"
    return f"Accuracy loss is {what}, on {samples} samples; with so few, read the 95 % bound in the table too."


def _rates(model: Model, scorecard: Scorecard | None) -> Iterator[Markup]:
    """Nothing where no plan was held against the uncut model."""
    if scorecard is None:
        return
    same = scorecard.metric == SAME_INPUTS
    kept = "answers kept" if same else f"kept of the metric {scorecard.metric}"
    drawn = rates_plot(model, scorecard.scores, kept)
    if drawn is None:
        return
    yield tag("h2", "Bytes against accuracy, cut by cut")
    yield tag(
        "p",
        "A good plan is far left and high up. A cut is worth its head where its plans lie left of the dotted line: that is the "
        "input, coded, with nothing computed on the device.",
    )
    yield drawn
    if model.n > PANELS:
        yield note(f"Of {model.n} cuts {PANELS} are drawn: the input, and those that keep the answers with the fewest bytes.")
    if any(score.leak_at_least for score in scorecard.scores.values()):
        yield note(LEAKS)


def _times(model: Model, profile: Profile | None) -> Iterator[Markup]:
    yield tag("h2", "Times on both sides of a cut")
    if profile is None:
        yield tag("p", "This bundle has no reference profile: no time was measured.")
        return
    yield times_plot(model, profile)
    yield note(
        f"Measured on {profile.device} with {profile.engine}, which stands for both sides; a device measures its own times, "
        "and the cloud reports its own."
    )


def _cut_table(model: Model, profile: Profile | None) -> Markup:
    columns = ("cut", "name", "id", "what crosses", "depth", "plain bytes", "head", "tail")
    return table(columns, (_cut_row(model, cut, profile) for cut in model.cuts), words=(0, 1, 2, 3))


def _cut_row(model: Model, cut: Cut, profile: Profile | None) -> tuple[str, ...]:
    head = tail = None
    if profile is not None:
        head = None if None in profile.segment_ms[: cut.index] else profile.head_ms(cut.index)
        tail = profile.tail_ms[cut.index] if cut.index < len(profile.tail_ms) else None
    crosses = ", ".join(f"{t.name} {shape(t)}" for t in cut.tensors) or "nothing"
    where = f"{cut.index} = n" if cut.index == model.n else str(cut.index)
    return (where, cut.name, cut.id, crosses, share(cut.depth), size(cut.nbytes), millis(head), millis(tail))


def _plan_table(scorecard: Scorecard, profile: Profile | None) -> Markup:
    columns = (
        "plan",
        "bytes p50",
        "p95",
        "accuracy loss",
        "at most (95 %)",
        "samples",
        "output error",
        "leaks",
        "encode",
        "decode",
    )
    plans = sorted(scorecard.scores)
    rows = [
        (str(plan), *_score(scorecard.scores[plan]))
        + ((millis(profile.encode_ms.get(plan)), millis(profile.decode_ms.get(plan))) if profile else (UNKNOWN, UNKNOWN))
        for plan in plans
    ]
    groups = ["group" if i and plan.cut != plans[i - 1].cut else "" for i, plan in enumerate(plans)]
    listed = table(columns, rows, classes=groups)
    if len(rows) <= ROWS_SHOWN:
        return listed
    return tag("details", tag("summary", f"{len(rows)} plans"), listed)


def _score(score: PlanScore) -> tuple[str, ...]:
    return (
        size(score.bytes_p50),
        size(score.bytes_p95),
        share(score.accuracy_loss),
        share(score.accuracy_loss_bound),
        str(score.n) if score.n else UNKNOWN,
        brief(score.output_error),
        _leak(score.leak_at_least),
    )


def _leak(leak: Leak | None) -> str:
    """SSIM and PSNR of the rebuilt input."""
    if leak is None:
        return UNKNOWN
    return at_least(leak) if leak.ssim is None else f"{at_least(leak)}, {int(leak.psnr_db)} dB"
