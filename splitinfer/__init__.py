"""Split inference: the head of a model on the device, the tail in the cloud, the cut chosen at run time.

    with splitinfer.Client("model.bundle", cloud="127.0.0.1:8443") as client:
        result = client.infer({"image": pixels})

Names are imported when they are first used, so that `import splitinfer` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitinfer.backends.network import Network as Network
    from splitinfer.bundle import Bundle as Bundle
    from splitinfer.device import Client as Client
    from splitinfer.device import Result as Result
    from splitinfer.device import Settings as Settings
    from splitinfer.energy import Power as Power
    from splitinfer.errors import SplitInferError as SplitInferError
    from splitinfer.events import BudgetSet as BudgetSet
    from splitinfer.events import Event as Event
    from splitinfer.events import Failed as Failed
    from splitinfer.events import Inferred as Inferred
    from splitinfer.events import InputsDrifted as InputsDrifted
    from splitinfer.events import LinkChanged as LinkChanged
    from splitinfer.events import LoadReported as LoadReported
    from splitinfer.events import ModelReady as ModelReady
    from splitinfer.events import Outcome as Outcome
    from splitinfer.events import PlanChanged as PlanChanged
    from splitinfer.events import PowerRead as PowerRead
    from splitinfer.events import ProbeDue as ProbeDue
    from splitinfer.events import Recorded as Recorded
    from splitinfer.events import Requested as Requested
    from splitinfer.events import RequestRefused as RequestRefused
    from splitinfer.events import Transferred as Transferred
    from splitinfer.events import Woken as Woken
    from splitinfer.plan import Budget as Budget
    from splitinfer.plan import Conditions as Conditions
    from splitinfer.plan import Cost as Cost
    from splitinfer.plan import Plan as Plan
    from splitinfer.plan import Uplink as Uplink
    from splitinfer.remote import Tls as Tls

_HOME = {
    "Network": "backends.network",
    "Bundle": "bundle",
    "Client": "device",
    "Result": "device",
    "Settings": "device",
    "SplitInferError": "errors",
    "BudgetSet": "events",
    "Event": "events",
    "Failed": "events",
    "Inferred": "events",
    "InputsDrifted": "events",
    "LinkChanged": "events",
    "LoadReported": "events",
    "ModelReady": "events",
    "Outcome": "events",
    "PlanChanged": "events",
    "PowerRead": "events",
    "ProbeDue": "events",
    "Recorded": "events",
    "RequestRefused": "events",
    "Woken": "events",
    "Requested": "events",
    "Transferred": "events",
    "Budget": "plan",
    "Conditions": "plan",
    "Cost": "plan",
    "Plan": "plan",
    "Power": "energy",
    "Uplink": "plan",
    "Tls": "remote",
}

__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'splitinfer' has no attribute {name!r}")
    return getattr(import_module(f"splitinfer.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
