"""The same answer: at every cut, head then tail against the original ONNX file in plain ONNX Runtime.

What crosses is handed over as plain arrays, as it is on the wire. Where a model ends in a Softmax, which hides differences, its
input is compared as well.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx

from splitinfer.backends.ort import OrtEngine, Uncut
from splitinfer.bench.main.bundles import LITE0, save
from splitinfer.bench.rows import Row, at_most
from splitinfer.build import BuildOptions, build, random_feeds
from splitinfer.bundle import Bundle
from splitinfer.engine import Held
from splitinfer.errors import EngineError
from splitinfer.model import Array, Tensors

NETWORKS = (LITE0, "light_resnet50", "light_squeezenet", "light_inception_v1", "light_shufflenet")
SEEDS = (1, 2)
log = logging.getLogger(__name__)


def measure(models: Path | None = None, tell: Callable[[str], None] = lambda _text: None) -> list[Row]:
    """A row a model: the worst difference over all its cuts, feeds and outputs.

    Args:
        models: a folder of more .onnx files.
        tell: progress.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for path in (*(save(network, folder) for network in NETWORKS), *sorted(models.glob("*.onnx") if models else ())):
            tell(f"  {path.stem}")
            rows.append(_row(path, folder))
        return rows


def _row(path: Path, folder: Path) -> Row:
    """Every boundary as one session a half; then the frontier as a device runs it, segment by segment."""
    opened = folder / f"open-{path.name}"
    model = onnx.load(path)
    _show_logits(model)
    onnx.save(model, opened)
    uncut = Uncut(model.SerializeToString())
    errors: list[float] = []
    for cuts in ("all", "frontier"):
        options = BuildOptions(name=path.stem, cuts=cuts, codecs=("raw",), overwrite=True)
        errors += _errors(build(opened, folder / "answers.bundle", options), uncut, by_segment=cuts == "frontier")
    return Row(
        f"{path.stem}: head then tail, worst of all cuts, max|d|/max|y|",
        max(errors),
        "share",
        at_most(1e-4),
        rival="the uncut model in plain onnxruntime",
        n=len(errors),
    )


def _show_logits(model: onnx.ModelProto) -> None:
    """Makes the input of a final Softmax an output, too."""
    outputs = {value.name: value for value in model.graph.output}
    for node in model.graph.node:
        if node.op_type == "Softmax" and node.output[0] in outputs and node.input[0] not in outputs:
            logits = model.graph.output.add()
            logits.CopyFrom(outputs[node.output[0]])
            logits.name = node.input[0]


def _errors(bundle: Bundle, uncut: Uncut, by_segment: bool) -> Iterator[float]:
    """The worst difference at each cut, cut n (all on the device) included."""
    wanted = list(_wanted(bundle, uncut))
    for at in range(bundle.model.n + 1):
        engine = OrtEngine(bundle)  # one for each cut: an engine keeps every range that it has run
        yield max(difference(_halves(engine, at, feeds, by_segment), want) for feeds, want in wanted)


def _wanted(bundle: Bundle, uncut: Uncut) -> Iterator[tuple[Tensors, Tensors]]:
    """Seeded inputs with the right answers: one at a time, and two where the model takes two."""
    open_batch = all(spec.shape[:1] == (None,) for spec in bundle.model.inputs)
    for batch in (1, 2) if open_batch else (1,):
        for seed in SEEDS:
            feeds = random_feeds(bundle.model, batch, seed)
            try:
                yield feeds, uncut.run(feeds)
            except EngineError:
                if batch == 1:
                    raise
                log.info("%s does not take two items at once", bundle.model.name)


def _halves(engine: OrtEngine, at: int, feeds: Tensors, by_segment: bool) -> Tensors:
    n = engine.model.n
    held: Held = engine.hold(0, feeds)
    for start, stop in [(i, i + 1) for i in range(at)] if by_segment else [(0, at)]:
        held = engine.run(start, stop, held)
    outputs: dict[str, Array] = {**held.outputs()}
    if at < n:
        outputs |= engine.run(at, n, engine.hold(at, held.plain())).outputs()
    return outputs


def difference(got: Mapping[str, Array], want: Mapping[str, Array]) -> float:
    """max|d| / max|y| of the worst output; infinite where names, shapes or not-a-numbers differ."""
    if got.keys() != want.keys():
        return float("inf")
    return max(_distance(got[name], want[name]) for name in want)


def _distance(got: Array, want: Array) -> float:
    if got.shape != want.shape or got.dtype != want.dtype:
        return float("inf")
    a, b = got.astype(np.float64), want.astype(np.float64)
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    delta, scale = np.abs(a - b).max(), np.abs(b).max()
    return float(delta / scale) if np.isfinite(delta) and scale > 0 else float("inf")
