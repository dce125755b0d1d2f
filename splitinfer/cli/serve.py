"""`splitinfer serve`: the cloud, on a local Ray or on a cluster that is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

_FILE = click.Path(path_type=Path)
_PORT = click.IntRange(0, 65535)
_COUNT = click.IntRange(min=1)


def _address(_ctx: click.Context, _option: click.Parameter, listen: str) -> str:
    from splitinfer.cloud.security import split_address

    try:
        split_address(listen)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return listen


@click.command("serve")
@click.argument("bundles", nargs=-1, required=True, type=_FILE)
@click.option(
    "--listen",
    default="127.0.0.1:8443",
    show_default=True,
    callback=_address,
    help="HOST:PORT; port 0 = any. Replicas take the next ones.",
)
@click.option("--ray-address", help="Join this Ray cluster; else a local Ray is started.")
@click.option("--replicas", default=1, show_default=True, type=_COUNT, help="Tails replicas, each with an address of its own.")
@click.option("--threads", type=_COUNT, help="Tails that run at once in a replica; default: its share of the cores.")
@click.option("--tls-cert", type=_FILE, help="PEM certificate chain.")
@click.option("--tls-key", type=_FILE, help="PEM private key.")
@click.option("--client-ca", type=_FILE, help="Accept only clients with a certificate of this CA (mTLS).")
@click.option("--token-file", type=_FILE, help="Accept only these bearer tokens, one a line.")
@click.option("--insecure", is_flag=True, help="Allow plaintext on addresses other than loopback.")
@click.option(
    "--drain-s",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Time for requests in flight when the server stops.",
)
@click.option("--metrics-port", type=_PORT, help="Prometheus metrics on this port; replicas take the next ones.")
@click.option(
    "--health-port", type=_PORT, help="Plaintext grpc.health.v1 and nothing else, for probes; replicas take the next ones."
)
def command(**options: Any) -> int:
    """Serve BUNDLES until SIGTERM or Ctrl-C; prints one line of JSON when it is ready."""
    from splitinfer.cloud.serve import ServeSettings, start

    settings = ServeSettings(**{name: value for name, value in options.items() if value is not None})
    with start(settings) as running:
        click.echo(json.dumps({"addresses": list(running.addresses), "digests": list(running.digests)}))
        running.wait()
    return 0
