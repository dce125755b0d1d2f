"""The cloud over gRPC: the device's half of the network, and the only module of the device that imports grpc.

remote      send and probe; grpc's errors end here
keeper      whether there is a link, and a fresh channel when there was none
line        one channel to every known server
upload      one request in pieces, a window ahead of the acknowledgements
address     where to, and with which credentials
tcp_info    what the kernel knows of a connection
"""

from __future__ import annotations

from splitinfer.backends.grpc_remote.address import is_local
from splitinfer.backends.grpc_remote.remote import GrpcRemote

__all__ = ["GrpcRemote", "is_local"]
