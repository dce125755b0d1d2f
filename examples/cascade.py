"""A wake-word cascade: a cheap rule looks at every frame, the network only at those that are worth it. Nothing else is sent.

python examples/cascade.py model.bundle 127.0.0.1:8443
"""

import sys

import numpy as np

import splitinfer as si


def frames(spec, count: int = 20):
    """A quiet sensor with an event now and then."""
    random = np.random.default_rng(0)
    for index in range(count):
        scale = 100 if index % 5 == 0 else 1
        shape = [d or 1 for d in spec.shape]
        yield {spec.name: (random.random(shape) * scale).astype(spec.dtype)}


def loud(inputs) -> bool:
    """The trigger: one mean, microseconds."""
    return float(np.mean(next(iter(inputs.values())))) > 5


def main(bundle: str, cloud: str | None = None) -> None:
    with si.Client(bundle, cloud=cloud) as client:
        spec = client.model.inputs[0]
        results = list(client.stream(frames(spec), trigger=loud))
    print(f"{len(results)} of 20 frames were worth inferring; outcomes: {sorted({str(r.outcome) for r in results})}")


if __name__ == "__main__":
    main(*sys.argv[1:])
