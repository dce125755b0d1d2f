"""What a build may be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from splitinfer.build.halves import check_groups
from splitinfer.build.image import ImageInput
from splitinfer.build.metric import Metric
from splitinfer.codec import codec
from splitinfer.errors import InvalidInput
from splitinfer.model import Array

Listener = Callable[[str, int, int], None]
"""Hears (stage, done, total)."""


@dataclass(frozen=True)
class BuildOptions:
    """What a build may be told.

    Attributes:
        name: label; by default the file's name.
        version: label.
        samples: input name -> samples along axis 0; uint8 NHWC for an image. At least two.
        labels: one a sample; makes accuracy_loss the drop of the metric.
        groups: an integer or a text for each sample: crops of one photo and windows of one recording have the same. A group is
            never divided between what chooses and what reports, and counts as one. None = each sample stands for itself.
        metric: of the task, higher is better, called with (outputs, labels); without labels, with (outputs, outputs of the
            uncut model). By default the share of right labels, or of answers that are those of the uncut model.
        image_input: fold uint8 NHWC -> this input into segment 0.
        cuts: "frontier", "all", or names of tensors, nodes or cuts.
        max_cuts: inner cuts that the frontier keeps.
        codecs: ids to measure and keep, wherever they code a tensor; None = measure those that fit, keep the Pareto front.
        states: inputs that carry what an output said one step before; None = told from a run (`build.states`). Where one
            crosses, only lossless codecs and `half` are measured, unless `codecs` says otherwise.
        target_runtime: the ONNX Runtime of the device where it is older than ours, as `Target.parse` takes it.
        device_max_bytes: leave out the segments past the longest head that fits in so many bytes; None = leave out none. The
            digest is the same, and the cloud needs a bundle that was built without.
        overwrite: replace a bundle that is there.
        progress: hears how far the build is.
    """

    name: str | None = None
    version: str = "1"
    samples: Mapping[str, Array] | None = None
    labels: Array | None = None
    groups: Array | None = None
    metric: Metric | None = None
    image_input: ImageInput | None = None
    cuts: str | tuple[str, ...] = "frontier"
    max_cuts: int = 6
    codecs: tuple[str, ...] | None = None
    states: tuple[str, ...] | None = None
    target_runtime: str | None = None
    device_max_bytes: int | None = None
    overwrite: bool = False
    progress: Listener | None = None

    def __post_init__(self) -> None:
        if isinstance(self.cuts, str) and self.cuts not in ("frontier", "all"):
            raise InvalidInput('cuts is "frontier", "all", or a tuple of names')
        if self.max_cuts < 0:
            raise InvalidInput("max_cuts cannot be negative: give 0 or more")
        if self.labels is not None and self.samples is None:
            raise InvalidInput("labels need samples: give both, or neither")
        if self.samples is None and (self.metric is not None or self.groups is not None):
            raise InvalidInput("a metric and groups need samples: give them too, or leave these out")
        if self.samples is not None and self.groups is not None:
            check_groups(self.groups, len(next(iter(self.samples.values()), ())))
        for name in self.codecs or ():
            codec(name)  # says which there are, where none has that name

    def tell(self, stage: str, done: int, total: int) -> None:
        """Says how far the build is."""
        if self.progress is not None:
            self.progress(stage, done, total)
