"""`splitinfer infer`: one input through a bundle, here and in the cloud."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from splitinfer.bundle import Bundle
from splitinfer.cli.feeds import encoded_image, read_feeds
from splitinfer.cli.output import json_option, print_json, print_table
from splitinfer.codec import codec_of_file
from splitinfer.device import Client, Inputs, Result, Settings
from splitinfer.errors import CodecError, InvalidInput
from splitinfer.model import Array
from splitinfer.payload import Packer
from splitinfer.plan import Budget
from splitinfer.remote import Tls

TOP = 5


@click.command("infer")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--input", "source", required=True, type=click.Path(exists=True, path_type=Path), help=".npz, .npy, .jpg or .png."
)
@click.option("--cloud", help="HOST:PORT[,HOST:PORT]; without it everything runs here.")
@click.option("--policy", default="thompson", show_default=True, help="thompson, robust, or static:CUT/CODEC.")
@click.option("--latency-ms", type=float, help="Latency budget.")
@click.option("--accuracy-loss-max", type=float, default=0.01, show_default=True)
@click.option(
    "--device-slowdown", type=click.FloatRange(min=1), default=1.0, help="Pretend that this device is so many times slower."
)
@click.option(
    "--ca",
    type=click.Path(exists=True, path_type=Path),
    help="Speak TLS: the authority that vouches for the cloud; default with --cert: those that gRPC knows.",
)
@click.option("--cert", type=click.Path(exists=True, path_type=Path), help="This device's certificate (mTLS).")
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="This device's private key (mTLS).")
@click.option("--token-file", type=click.Path(exists=True, path_type=Path), help="Bearer token.")
@click.option("--insecure", is_flag=True, help="Allow plaintext to addresses other than loopback.")
@click.option("--events", type=click.Path(path_type=Path), help="Append events to this file, as JSON Lines.")
@click.option("--metrics-port", type=int, help="Prometheus metrics of this device on loopback; 0 = any free port.")
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Run the input so often; the last result is shown.",
)
@json_option
def command(bundle: Path, source: Path, as_json: bool, **given: Any) -> int:
    """Run one input through BUNDLE."""
    opened = Bundle.open(bundle)
    feeds = _feeds(source, opened)
    token = given["token_file"].read_text(encoding="utf-8").strip() if given["token_file"] else None
    settings = Settings(
        policy=given["policy"],
        insecure=given["insecure"],
        slowdown=given["device_slowdown"],
        events_file=given["events"],
        metrics_port=given["metrics_port"],
    )
    budget = Budget(latency_ms=given["latency_ms"], accuracy_loss_max=given["accuracy_loss_max"])
    tls = Tls(given["ca"], given["cert"], given["key"]) if given["ca"] or given["cert"] or given["key"] else None
    cloud = given["cloud"].split(",") if given["cloud"] else None
    with _client(opened, cloud, tls=tls, token=token, budget=budget, settings=settings) as client:
        for _ in range(given["repeat"]):
            result = client.infer(feeds)
    if as_json:
        print_json(as_object(result))
    else:
        _print(result)
    return 0


def _client(bundle: Bundle, cloud: list[str] | None, **given: Any) -> Client:
    try:
        return Client(bundle, cloud, **given)
    except ValueError as error:  # an address or a policy that cannot be read
        raise click.UsageError(str(error)) from error


def as_object(result: Result) -> dict[str, Any]:
    """A result as JSON (docs/json.md)."""
    return {
        "outputs": {name: {"shape": list(a.shape), "top": _top(a)} for name, a in result.outputs.items()},
        "plan": {"cut": result.plan.cut, "codec": result.plan.codec},
        "cost": asdict(result.cost) | {"latency_ms": result.cost.latency_ms},
        "outcome": str(result.outcome),
    }


def _feeds(source: Path, bundle: Bundle) -> Inputs:
    """The file's own bytes if they fit the model as they are; else decoded and scaled."""
    encoded = encoded_image(source, bundle.model)
    if encoded is not None and bundle.model.image_input is not None:
        try:
            Packer(bundle.model, bundle.tables).pack_encoded(encoded, codec_of_file(encoded).id)
        except (CodecError, InvalidInput):
            pass  # of another size: decoded and scaled below
        else:
            return {bundle.model.image_input: encoded}
    return read_feeds(source, bundle.model)


def _top(array: Array) -> list[list[float | int]]:
    flat = np.asarray(array[0] if array.ndim > 1 else array).reshape(-1)
    if flat.dtype.kind not in "fiub":
        return []
    order = np.argsort(-flat.astype(np.float64), kind="stable")[:TOP]
    return [[int(index), float(flat[index])] for index in order]


def _print(result: Result) -> None:
    click.echo(f"plan {result.plan}, {result.outcome}, {result.cost.latency_ms:.1f} ms, {result.cost.uplink_bytes} bytes up")
    for name, entry in as_object(result)["outputs"].items():
        print_table((f"{name} {entry['shape']}", "value"), [(index, value) for index, value in entry["top"]])
