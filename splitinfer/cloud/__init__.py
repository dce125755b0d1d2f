"""The cloud side: a gRPC server that runs tails, and its pool on Ray Serve.

`server` serves in one process and knows no Ray; `tails` puts it into Serve replicas, the only module that imports Ray; `serve`
starts the whole from settings. Needs the extra `[cloud]`.
"""
