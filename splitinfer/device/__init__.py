"""The device: `Client`, and the driver, sensors and observers behind it. Imports no ray and no onnx."""

from splitinfer.device.client import Client, Inputs, Result
from splitinfer.device.settings import Settings

__all__ = ["Client", "Inputs", "Result", "Settings"]
