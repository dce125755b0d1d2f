"""`splitinfer build`: an ONNX model in, a bundle out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from splitinfer.build.bounds import samples_needed
from splitinfer.bundle import Bundle, frontier_loss
from splitinfer.cli.bundle import left_out
from splitinfer.cli.feeds import read_array, read_arrays
from splitinfer.cli.inspect import LOSS_WISHED, about_scores, crossing_bytes, describe
from splitinfer.cli.output import json_option, kilobytes, print_json, print_table, progress_console
from splitinfer.cli.sizes import megabytes
from splitinfer.errors import InvalidInput

if TYPE_CHECKING:
    from splitinfer.build import ImageInput
    from splitinfer.build.metric import Metric


@click.command("build")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--samples", type=click.Path(exists=True, path_type=Path), help=".npz, one array an input, samples on axis 0.")
@click.option("--labels", "labels_key", help="Key of the labels in --samples; else agreement with the uncut model counts.")
@click.option("--groups", metavar="KEY|FILE.npy", help="An integer or a text for each sample; crops of one photo count as one.")
@click.option("--image-input", "image", help="NAME[:mean=..,std=..,order=rgb|bgr]: take the camera's own uint8 image at cut 0.")
@click.option("--cut", "cuts", multiple=True, help="Cut here: a tensor, a node, or a cut's id or name. May be repeated.")
@click.option("--cuts", "all_cuts", type=click.Choice(["all", "frontier"]), default="frontier", show_default=True)
@click.option("--metric", "metric_path", help="module:function (outputs, labels or wanted outputs) -> score, higher is better.")
@click.option(
    "--bound",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=LOSS_WISHED,
    show_default=True,
    help="Say how many samples it takes to be sure of an accuracy loss of at most this.",
)
@click.option("--max-cuts", default=6, show_default=True, help="Inner cuts that the frontier keeps.")
@click.option(
    "--state", "states", multiple=True, help="Input that carries what an output said before; default: told from a run."
)
@click.option("--target-runtime", metavar="VERSION", help='ONNX Runtime of the device where it is older: "1.17", or "web".')
@click.option(
    "--device-max-mb",
    "device_max_bytes",
    type=megabytes,
    help="Leave out the last segments, so that a device can hold the rest.",
)
@click.option("--name", help="Label; default: the file's name.")
@click.option("--version", "version_label", default="1", show_default=True, help="Label.")
@click.option("--force", is_flag=True, help="Replace --out if it is a bundle.")
@json_option
def command(model: Path, out: Path, **given: Any) -> int:
    """Cut MODEL (an .onnx file) into a bundle; every cut is checked against the uncut model."""
    from splitinfer.build import BuildOptions, build

    samples = read_arrays(given["samples"]) if given["samples"] else None
    labels, groups = _labels(samples, given["labels_key"]), _groups(samples, given["groups"])
    metric = _metric(given["metric_path"]) if given["metric_path"] else None
    with _bars() as bars:
        options = BuildOptions(
            name=given["name"] or model.stem,
            version=given["version_label"],
            samples=samples,
            labels=labels,
            groups=groups,
            metric=metric,
            image_input=_image_input(given["image"]) if given["image"] else None,
            cuts=given["cuts"] or given["all_cuts"],
            max_cuts=given["max_cuts"],
            states=given["states"] or None,
            target_runtime=given["target_runtime"],
            device_max_bytes=given["device_max_bytes"],
            overwrite=given["force"],
            progress=_advance(bars),
        )
        bundle = build(model, out, options)
    if given["as_json"]:
        print_json(describe(bundle, given["bound"]) | {"path": str(out)})
        return 0
    _report(bundle, samples is not None, given["bound"])
    for line in about_scores(bundle, given["bound"]):
        click.echo(line)
    if given["device_max_bytes"] is not None:
        click.echo(left_out(bundle))
        if not bundle.model.whole:
            click.echo("To make it, build again without --device-max-mb: the digest is the same.")
    return 0


def _labels(samples: dict[str, Any] | None, key: str | None) -> Any:
    if key is None:
        return None
    if samples is None or key not in samples:
        raise InvalidInput(f"--labels {key}: there is no such array in --samples")
    return samples.pop(key)


def _groups(samples: dict[str, Any] | None, given: str | None) -> Any:
    """A key of --samples, or an .npy file."""
    if given is None:
        return None
    if samples is not None and given in samples:
        return samples.pop(given)
    path = Path(given)
    if not path.exists():
        raise InvalidInput(f"--groups {given}: there is no such array in --samples, nor such a file")
    return read_array(path)


def _image_input(text: str) -> ImageInput:
    from splitinfer.build import ImageInput

    return ImageInput.parse(text)


def _metric(path: str) -> Metric:
    from splitinfer.build.metric import load_metric

    return load_metric(path)


def _bars() -> Progress:
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=progress_console, transient=True, disable=not progress_console.is_terminal)


def _advance(bars: Progress) -> Callable[[str, int, int], None]:
    tasks: dict[str, Any] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    return advance


def _report(bundle: Bundle, scored: bool, wished: float) -> None:
    model, sizes = bundle.model, crossing_bytes(bundle)
    click.echo(f"{bundle.path}: {model.name}@{model.version}, {kilobytes(bundle.nbytes)}, digest {model.digest[:12]}")
    print_table(
        ("cut", "id", "name", "depth", "bytes"),
        [(c.index, c.id, c.name[:48], c.depth, kilobytes(nbytes)) for c, nbytes in zip(model.cuts, sizes, strict=True)],
    )
    if (lost := frontier_loss(bundle.info.build)) is not None:
        mean, worst = (f"{100 * share:.2g} %" for share in lost)
        click.echo(f"Of the latency with every boundary, these cuts lose {mean} on average and {worst} at worst (estimated).")
    if not scored:
        click.echo(
            "Without --samples only lossless plans and half are offered; whatever loses more needs samples: "
            f"{2 * samples_needed(wished)} make sure of an accuracy loss of at most {100 * wished:.2g} % where nothing changes."
        )
