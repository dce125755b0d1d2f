"""Listening: what the scheduler decides and why, as it happens.

python examples/events.py model.bundle 127.0.0.1:8443
"""

import sys

import numpy as np

import splitinfer as si


def tell(event: si.Event) -> None:
    """Called in a thread of its own: taking long delays no answer."""
    match event:
        case si.PlanChanged(old, new, cause, reason):
            print(f"plan {old} -> {new} because of {cause}: {reason}")
        case si.LinkChanged(up, cause, _):
            print(f"link {'up' if up else 'down'}: {cause}")


def main(bundle: str, cloud: str | None = None) -> None:
    with si.Client(bundle, cloud=cloud, settings=si.Settings(observers=(tell,), events_file=None)) as client:
        client.infer({spec.name: np.zeros([d or 1 for d in spec.shape], spec.dtype) for spec in client.model.inputs})
        client.tell(si.LinkChanged(up=False, cause="aeroplane mode"))  # the application may know first
        client.tell(si.PowerRead(battery=0.04, charging=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
