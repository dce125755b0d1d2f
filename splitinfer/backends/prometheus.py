"""Metrics for Prometheus: an observer like any other, and a server for what it counted.

Names follow https://prometheus.io/docs/practices/naming: base units, `_total` for counters. Labels are bounded: outcome,
stage, cut, cause, reason; never a device, a request or an address.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from splitinfer.events import (
    Event,
    Failed,
    Inferred,
    InputsDrifted,
    LinkChanged,
    LoadReported,
    PlanChanged,
    PowerRead,
    RequestRefused,
    Served,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_STAGES = ("head", "encode", "uplink", "queue", "tail", "downlink", "decode")


class DeviceMetrics:
    """What a device counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter("splitinfer_requests", "Requests by outcome.", ["outcome"], registry=registry)
        self._missed = Counter("splitinfer_budget_misses", "Answers later than the budget's latency.", registry=registry)
        self._latency = Histogram("splitinfer_request_seconds", "Latency of a request.", registry=registry, buckets=_SECONDS)
        self._stage = Histogram("splitinfer_stage_seconds", "Time of a stage.", ["stage"], registry=registry, buckets=_SECONDS)
        self._bytes = Counter("splitinfer_uplink_bytes", "Bytes sent, by cut.", ["cut"], registry=registry)
        self._raced = Counter("splitinfer_raced_seconds", "Device time that races spent and did not need.", registry=registry)
        self._energy = Counter("splitinfer_energy_joules", "Energy of requests, modelled.", registry=registry)
        self._plans = Counter("splitinfer_plan_changes", "Changes of plan, by cause.", ["cause"], registry=registry)
        self._departed = Counter(
            "splitinfer_departed", "Requests with values that the plan's codec could not code.", registry=registry
        )
        self._drifts = Counter("splitinfer_input_drifts", "Times inputs became unlike the samples.", registry=registry)
        self._cut = Gauge("splitinfer_plan_cut", "Cut of the current plan.", registry=registry)
        self._link = Gauge("splitinfer_link_up", "1 while the cloud can be reached.", registry=registry)
        self._queue = Gauge("splitinfer_cloud_queue_seconds", "Waiting time that the cloud reported.", registry=registry)
        self._battery: Gauge | None = None
        self._registry = registry

    def __call__(self, event: Event) -> None:
        """Counts one event."""
        match event:
            case Inferred():
                self._inferred(event)
            case Failed(_, outcome, _):
                self._requests.labels(outcome).inc()
            case PlanChanged(_, new, cause, _):
                self._plans.labels(cause).inc()
                self._cut.set(new.cut)
            case InputsDrifted():
                self._drifts.inc()
            case LinkChanged(up):
                self._link.set(up)
            case LoadReported(queue_ms, _):
                self._queue.set(queue_ms / 1e3)
            case PowerRead(battery, _) if battery is not None:
                self._charge().set(battery)

    def _charge(self) -> Gauge:
        """Made with the first reading: a gauge that nobody set would say that the battery is empty."""
        if self._battery is None:
            self._battery = Gauge("splitinfer_battery_ratio", "Charge, 0 to 1; absent on mains.", registry=self._registry)
        return self._battery

    def _inferred(self, event: Inferred) -> None:
        cost = event.cost
        self._requests.labels(event.outcome).inc()
        self._latency.observe(cost.latency_ms / 1e3)
        self._bytes.labels(str(event.plan.cut)).inc(cost.uplink_bytes)
        self._energy.inc((cost.energy_mj or 0.0) / 1e3)
        self._raced.inc(event.raced_ms / 1e3)
        if event.late:
            self._missed.inc()
        if event.departed:
            self._departed.inc()
        for stage in _STAGES:
            ms = getattr(cost, f"{stage}_ms")
            if ms:
                self._stage.labels(stage).observe(ms / 1e3)


class CloudMetrics:
    """What the cloud counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._served = Counter("splitinfer_served", "Requests answered, by cut.", ["cut"], registry=registry)
        self._refused = Counter("splitinfer_refused", "Requests refused, by reason.", ["reason"], registry=registry)
        self._stage = Histogram(
            "splitinfer_server_stage_seconds", "Time of a stage.", ["stage"], registry=registry, buckets=_SECONDS
        )
        self._bytes = Counter("splitinfer_received_bytes", "Bytes received, by cut.", ["cut"], registry=registry)

    def __call__(self, event: Event) -> None:
        """Counts one event."""
        match event:
            case Served():
                cut = str(event.cut)
                self._served.labels(cut).inc()
                self._bytes.labels(cut).inc(event.received_bytes)
                self._stage.labels("queue").observe(event.queue_ms / 1e3)
                self._stage.labels("decode").observe(event.decode_ms / 1e3)
                self._stage.labels("tail").observe(event.tail_ms / 1e3)
            case RequestRefused(reason):
                self._refused.labels(reason).inc()


class Metrics:
    """Counts events of one side and serves them over HTTP on `host`:`port` (0 = any free port)."""

    def __init__(self, side: str, port: int, host: str = "127.0.0.1") -> None:
        self.registry = CollectorRegistry()
        self._observer = CloudMetrics(self.registry) if side == "cloud" else DeviceMetrics(self.registry)
        self._server, self._thread = start_http_server(port, host, self.registry)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def __call__(self, event: Event) -> None:
        """Counts one event."""
        self._observer(event)

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
