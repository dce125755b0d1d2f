"""Split inference: the head of a model on the device, the tail in the cloud, the cut chosen at run time."""
