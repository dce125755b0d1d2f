"""Chosen cuts of an analysed model, as a bundle that only has to be written."""

from __future__ import annotations

from typing import Any

import onnx

from splitinfer.build import cuts, segments
from splitinfer.build.analyse import Analysis
from splitinfer.build.options import BuildOptions
from splitinfer.build.reasons import explain
from splitinfer.build.tryout import specs
from splitinfer.bundle import CutEntry, Draft


def draft(analysis: Analysis, kept: cuts.Kept, options: BuildOptions) -> Draft:
    """Cuts a model.

    Args:
        analysis: of the model.
        kept: where.
        options: labels.

    Returns:
        The bundle to be, without codec tables.
    """
    graph, folded = kept.order.graph, analysis.folded
    live, positions = [b.live for b in kept.boundaries], [b.position for b in kept.boundaries]
    extraction = segments.extract(graph, kept.order.steps, live, positions)
    return Draft(
        name=options.name or analysis.file.removesuffix(".onnx"),
        version=options.version,
        inputs=specs(graph, graph.inputs),
        outputs=specs(graph, graph.outputs),
        cuts=_entries(analysis, kept),
        segments=extraction.segments,
        weights=extraction.weights,
        batches=analysis.batches,
        image_input=folded.image.name if folded else None,
        preprocessing=folded.image.described() if folded else {},
        build_info=_build_info(analysis, kept),
        boundaries=explain(kept, analysis.model_hash, image=folded is not None),
    )


def _entries(analysis: Analysis, kept: cuts.Kept) -> tuple[CutEntry, ...]:
    """The cuts as they are written down; a name that comes twice (a tensor called "end") is followed by the id."""
    entries: dict[str, CutEntry] = {}
    for boundary in kept.boundaries:
        cut_id = cuts.cut_id(analysis.model_hash, boundary.live)
        name = cuts.friendly(boundary, end=boundary is kept.boundaries[-1])
        name = f"{name} ({cut_id})" if name in entries else name
        entries[name] = CutEntry(cut_id, name, specs(kept.order.graph, boundary.live))
    return tuple(entries.values())


def _build_info(analysis: Analysis, kept: cuts.Kept) -> dict[str, Any]:
    info: dict[str, Any] = {
        "model_file": analysis.file,
        "model_sha256": analysis.model_hash,
        "onnx": onnx.__version__,
        "opset": {opset.domain or "ai.onnx": opset.version for opset in analysis.graph.model.opset_import},
        "boundaries": sum(boundary.why_not is None for boundary in kept.order.boundaries),
    }
    if kept.frontier is not None:
        info["frontier"] = {"loss_mean": kept.frontier.loss_mean, "loss_worst": kept.frontier.loss_worst}
    return info
