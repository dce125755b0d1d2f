"""Ten lines in an application: a bundle, a cloud that may or may not be there, a budget.

python examples/embed.py model.bundle 127.0.0.1:8443
"""

import sys

import numpy as np

import splitinfer as si


def main(bundle: str, cloud: str | None = None) -> None:
    with si.Client(bundle, cloud=cloud, budget=si.Budget(latency_ms=100, accuracy_loss_max=0.01)) as client:
        inputs = {spec.name: np.zeros([d or 1 for d in spec.shape], spec.dtype) for spec in client.model.inputs}
        for _ in range(5):
            result = client.infer(inputs)
            cost = result.cost
            print(f"{result.outcome} by plan {result.plan} in {cost.latency_ms:.1f} ms, {cost.uplink_bytes} bytes up")


if __name__ == "__main__":
    main(*sys.argv[1:])
