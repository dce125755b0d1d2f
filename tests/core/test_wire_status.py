"""Errors over gRPC's status: what a server says is what the device raises."""

from __future__ import annotations

import pytest
from google.rpc import error_details_pb2, status_pb2

from splitinfer import wire
from splitinfer.errors import (
    CorruptPayload,
    DeadlineExceeded,
    DigestMismatch,
    Reason,
    Refused,
    SecurityError,
    Unreachable,
)


@pytest.mark.parametrize("reason", [r for r in Reason if r not in (Reason.UNAUTHENTICATED, Reason.DEADLINE_TOO_SHORT)])
def test_a_reason_arrives_with_its_pushback(reason):
    error = wire.error_from_status(*wire.encode_status(Refused("no, because", reason, 12.5), "no, because"))
    assert isinstance(error, Refused)
    assert (error.reason, error.retry_after_ms, str(error)) == (reason, 12.5, "no, because")


def test_errors_become_reasons():
    code, _, details = wire.encode_status(DigestMismatch("another bundle"))
    error = wire.error_from_status(code, "another bundle", details)
    assert isinstance(error, Refused)
    assert error.reason is Reason.UNKNOWN_DIGEST
    assert error.retry_after_ms is None
    assert wire.encode_status(CorruptPayload("bytes"))[:2] == (3, "bytes")


def test_the_inside_is_not_told():
    code, message, details = wire.encode_status(KeyError("/secret/path"))
    assert code == 13
    assert "secret" not in message
    assert b"secret" not in details


@pytest.mark.parametrize(
    ("code", "kind"), [(4, DeadlineExceeded), (14, Unreachable), (1, Unreachable), (16, SecurityError), (7, SecurityError)]
)
def test_a_status_without_details(code, kind):
    assert isinstance(wire.error_from_status(code, ""), kind)


def test_credentials_and_time_are_errors_of_their_own():
    assert isinstance(wire.error_from_status(*wire.encode_status(Refused("who?", Reason.UNAUTHENTICATED))), SecurityError)
    late = wire.error_from_status(*wire.encode_status(Refused("late", Reason.DEADLINE_TOO_SHORT)))
    assert isinstance(late, DeadlineExceeded)


@pytest.mark.parametrize("details", [b"\xff\xff", b"", status_pb2.Status(code=8).SerializeToString()])
def test_details_that_say_nothing_count_as_none(details):
    error = wire.error_from_status(8, "no", details)
    assert isinstance(error, Refused)
    assert (error.reason, error.retry_after_ms) == (Reason.INTERNAL, None)


def test_the_details_are_google_rpcs():
    _, _, details = wire.encode_status(Refused("busy", Reason.OVERLOADED, 250.0))
    status = status_pb2.Status.FromString(details)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (info.reason, info.domain) == ("OVERLOADED", "splitinfer")
    assert retry.retry_delay.ToMilliseconds() == 250


def test_reasons_of_others_are_not_taken_for_ours():
    status = status_pb2.Status(code=14, message="no")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="DRAINING", domain="somebody.else"))
    assert isinstance(wire.error_from_status(14, "no", status.SerializeToString()), Unreachable)
    status.details[0].Pack(error_details_pb2.ErrorInfo(reason="INVENTED_LATER", domain="splitinfer"))
    assert isinstance(wire.error_from_status(14, "no", status.SerializeToString()), Unreachable)
