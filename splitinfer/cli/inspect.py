"""`splitinfer inspect`: what is in a bundle, as text, as JSON, or drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from splitinfer.build.certainty import certainty
from splitinfer.bundle import FRONTIER_GRID, BoundaryEntry, Bundle, frontier_loss
from splitinfer.cli.output import json_option, kilobytes, print_json, print_table
from splitinfer.model import TensorSpec

LOSS_WISHED = 0.01
"""The accuracy loss that `Budget` allows where nobody says otherwise."""


@click.command("inspect")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="Draw the model with its cuts, bytes and times into this file.")
@click.option("--boundaries", is_flag=True, help="List every place where the model could be cut, and why it was or was not.")
@json_option
def command(bundle: Path, html: Path | None, boundaries: bool, as_json: bool) -> int:
    """Show BUNDLE: cuts, segments, plans with their scores."""
    opened = Bundle.open(bundle)
    if html is not None:
        from splitinfer.picture import model_page

        html.write_text(model_page(opened), encoding="utf-8")
    if as_json:
        print_json(describe(opened))
    else:
        _print(opened)
        if boundaries:
            _print_boundaries(opened.boundaries())
    return 0


def describe(bundle: Bundle, wished: float = LOSS_WISHED) -> dict[str, Any]:
    """A bundle as JSON (docs/json.md).

    Args:
        bundle: what is there.
        wished: the bound of the accuracy loss for which to say how many samples it takes.
    """
    model, lost = bundle.model, frontier_loss(bundle.info.build)
    card = bundle.scorecard
    sure = certainty(card, wished) if card else None
    return {
        "digest": model.digest,
        "name": model.name,
        "version": model.version,
        "inputs": [_spec(t) for t in model.inputs],
        "outputs": [_spec(t) for t in model.outputs],
        "image_input": model.image_input,
        "batches": model.batches,
        "holds": sorted(model.holds),
        "cuts": [
            {
                "index": c.index,
                "id": c.id,
                "name": c.name,
                "depth": c.depth,
                "tensors": [_spec(t) for t in c.tensors],
                "bytes": nbytes,
            }
            for c, nbytes in zip(model.cuts, crossing_bytes(bundle), strict=True)
        ],
        "boundaries": [_boundary(boundary) for boundary in bundle.boundaries()],
        "frontier": None if lost is None else {"loss_mean": lost[0], "loss_worst": lost[1]},
        "segments": [
            {"index": s.index, "sha256": s.sha256, "bytes": s.nbytes, "nodes": s.nodes, "operations": s.operations}
            for s in model.segments
        ],
        "metric": card.metric if card else None,
        "dropped": card.dropped if card else 0,
        "certainty": asdict(sure) if sure else None,
        "plans": _plans(bundle),
    }


def _boundary(boundary: BoundaryEntry) -> dict[str, Any]:
    return {
        "id": boundary.id,
        "name": boundary.name,
        "position": boundary.position,
        "depth": boundary.depth,
        "bytes": boundary.nbytes,
        "kept": boundary.kept,
        "offered": boundary.offered,
        "why": boundary.why,
    }


def crossing_bytes(bundle: Bundle) -> tuple[int, ...]:
    """Plain bytes of each cut: those of a trial run where it is known, since an open dimension of a spec has no size."""
    tried = {boundary.id: boundary.nbytes for boundary in bundle.boundaries()}
    return tuple(tried.get(cut.id, cut.nbytes) for cut in bundle.model.cuts)


def _plans(bundle: Bundle) -> list[dict[str, Any]]:
    scores = bundle.scorecard.scores if bundle.scorecard else {}
    return [{"cut": plan.cut, "codec": plan.codec, **asdict(score)} for plan, score in sorted(scores.items())]


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _print(bundle: Bundle) -> None:
    model = bundle.model
    click.echo(f"{model.name}@{model.version}  digest {model.digest}  {kilobytes(bundle.nbytes)}")
    if not model.whole:
        click.echo(f"holds segments {sorted(model.holds)} of {model.n}: no answer without the cloud")
    profile, sizes = bundle.profile, crossing_bytes(bundle)
    print_table(
        ("cut", "id", "crosses", "depth", "bytes", "head ms", "tail ms"),
        [
            (
                c.index,
                c.id,
                ", ".join(f"{t.name}{list(t.shape)}" for t in c.tensors)[:60] or "nothing",
                c.depth,
                kilobytes(sizes[c.index]),
                profile.head_ms(c.index) if profile else None,
                profile.tail_ms[c.index] if profile and c.index < len(profile.tail_ms) else None,
            )
            for c in model.cuts
        ],
    )
    if (lost := frontier_loss(bundle.info.build)) is not None:
        mean, worst = (f"{100 * share:.2g} %" for share in lost)
        click.echo(
            f"With these cuts the latency is {mean} above that with every boundary, at worst {worst}: by operations counted,\n"
            f"for {FRONTIER_GRID}.\n"
        )
    print_table(
        ("plan", "bytes p50", "bytes p95", "accuracy loss", "<= (95 %)", "n", "divergence", "output error", "leaks"),
        [
            (
                f"{row['cut']}/{row['codec']}",
                kilobytes(row["bytes_p50"]),
                kilobytes(row["bytes_p95"]),
                row["accuracy_loss"],
                row["accuracy_loss_bound"],
                f"{row['n']} in {row['groups']}" if row["groups"] else row["n"],
                row["divergence"],
                row["output_error"],
                _leak(row["leak_at_least"]),
            )
            for row in _plans(bundle)
        ],
    )
    for line in about_scores(bundle):
        click.echo(line)


def _leak(leak: Mapping[str, Any] | None) -> str | None:
    """How well the input was rebuilt from what crosses: SSIM where it is a picture, and PSNR."""
    if leak is None:
        return None
    # Rounded down: it is said to be at least so much.
    ssim = "" if leak["ssim"] is None else f"{int(100 * leak['ssim']) / 100:.2f}, "
    return f">= {ssim}{int(leak['psnr_db'])} dB"


def about_scores(bundle: Bundle, wished: float = LOSS_WISHED) -> Iterator[str]:
    """What is not in the table of plans: how many were dropped, and how sure one can be of those that changed nothing."""
    card = bundle.scorecard
    if card is None:
        return
    if card.dropped:
        yield (
            f"{len(card.scores)} plans are kept; {card.dropped} more were measured and dropped: at the same cut there is one "
            "that is no larger, loses no more, and is no slower to code."
        )
    if (sure := certainty(card, wished)) is None:
        return
    draws = "groups of samples" if sure.grouped else "samples"
    for_that = f"for {_percent(sure.wished)} give {sure.needed} {draws}: half of them choose, and half report"
    if not sure.unchanged:
        yield f"No plan that may lose something changed nothing on {sure.draws} {draws}. To be sure of one, {for_that}."
        return
    plans = (
        "1 plan that may lose something changes"
        if sure.unchanged == 1
        else f"{sure.unchanged} plans that may lose something change"
    )
    yield (
        f"{plans} nothing on {sure.draws} {draws}: each is sure to lose at most {_percent(sure.bound)} of the answers "
        f"(95 %, each by itself); {for_that}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _print_boundaries(boundaries: Sequence[BoundaryEntry]) -> None:
    if not boundaries:
        click.echo("This bundle does not say where else it could have been cut: build it again, or look at the whole bundle.")
        return
    print_table(
        ("boundary", "id", "depth", "bytes", "kept", "why"),
        [
            (
                _short(boundary.name),
                boundary.id,
                f"{boundary.depth:.3f}",
                kilobytes(boundary.nbytes),
                "cut" if boundary.kept else "",
                boundary.why,
            )
            for boundary in boundaries
        ],
        sentences=True,
    )


def _short(name: str, most: int = 44) -> str:
    """A name without its middle where it is long."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"
