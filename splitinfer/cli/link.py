"""`splitinfer link`: a TCP proxy that behaves like a slow link, for trying things out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import click


@click.command("link")
@click.option("--listen", required=True, help="HOST:PORT; port 0 = any.")
@click.option("--to", "target", required=True, help="HOST:PORT of the cloud.")
@click.option("--uplink-mbps", type=click.FloatRange(min=0, min_open=True), help="Rate upwards; default: unlimited.")
@click.option("--rtt-ms", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Round trip that is added.")
@click.option("--trace", type=click.Path(exists=True, path_type=Path), help="Follow a recorded network (CSV: t_s,up_mbps,...).")
def command(listen: str, target: str, uplink_mbps: float | None, rtt_ms: float, trace: Path | None) -> int:
    """Forward TCP from --listen to --to through a shaped link, until Ctrl-C; prints its address as JSON."""
    from splitinfer.sim.proxy import Proxy
    from splitinfer.sim.trace import LinkTrace

    with Proxy(target, listen=listen) as proxy:
        proxy.set(rate_bps=None if uplink_mbps is None else uplink_mbps * 1e6, rtt_ms=rtt_ms)
        if trace is not None:
            proxy.follow(LinkTrace.read(trace))
        click.echo(json.dumps({"address": proxy.address}))
        Event().wait()
    return 0
