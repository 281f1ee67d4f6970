"""What travels arrives as it was sent, or is not opened at all."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_gce.errors import SealBroken
from hydra_gce.jobs import (
    Failure,
    JobResult,
    JobSpec,
    JobState,
    JobStatus,
    Placement,
    seal,
    seal_result,
    seal_spec,
    unseal,
    unseal_result,
    unseal_spec,
)
from hydra_gce.secrecy import decrypt, encrypt

KEY = bytes(range(32))
PURPOSE = "calm-otter/3/spec"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
)
headers = st.dictionaries(st.text(max_size=8), json_values, max_size=4)
floats = st.floats(allow_nan=False)


@given(headers, st.binary(max_size=64), st.binary(min_size=1, max_size=48), st.text(max_size=20))
def test_an_envelope_gives_back_what_was_put_in(
    header: dict[str, Any], body: bytes, key: bytes, purpose: str
) -> None:
    assert unseal(key, purpose, seal(key, purpose, header, body)) == (header, body)


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=3), st.binary(min_size=1, max_size=48))
def test_variables_come_back_with_the_key_and_cannot_be_read_without(
    variables: dict[str, str], key: bytes
) -> None:
    text = encrypt(key, PURPOSE, variables)
    assert decrypt(key, PURPOSE, text) == variables
    if variables:
        for other, purpose in ((key + b"x", PURPOSE), (key, "calm-otter/4/spec")):
            with pytest.raises(SealBroken, match="not encrypted with this sweep's key"):
                decrypt(other, purpose, text)


@given(st.data(), headers, st.binary(max_size=32))
def test_an_envelope_with_any_flipped_bit_is_not_opened(
    data: st.DataObject, header: dict[str, Any], body: bytes
) -> None:
    envelope = bytearray(seal(KEY, PURPOSE, header, body))
    envelope[data.draw(st.integers(0, len(envelope) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBroken, match="calm-otter/3/spec"):
        unseal(KEY, PURPOSE, bytes(envelope))


@given(st.data(), st.binary(max_size=32))
def test_an_envelope_cut_short_or_made_longer_is_not_opened(data: st.DataObject, body: bytes) -> None:
    envelope = seal(KEY, PURPOSE, {"a": 1}, body)
    for changed in (envelope[: data.draw(st.integers(0, len(envelope) - 1))], envelope + b"\0", b""):
        with pytest.raises(SealBroken):
            unseal(KEY, PURPOSE, changed)


@given(st.binary(max_size=200))
def test_what_is_no_envelope_is_not_opened(content: bytes) -> None:
    with pytest.raises(SealBroken):
        unseal(KEY, PURPOSE, content)


@given(st.text(max_size=20), st.binary(max_size=40))
def test_an_envelope_is_for_one_purpose_and_one_key(purpose: str, key: bytes) -> None:
    envelope = seal(KEY, PURPOSE, {"a": 1}, b"body")
    if purpose != PURPOSE:
        with pytest.raises(SealBroken):
            unseal(KEY, purpose, envelope)
    if key.rstrip(b"\0") != KEY.rstrip(b"\0"):  # HMAC fills short keys up with zeros
        with pytest.raises(SealBroken):
            unseal(key, PURPOSE, envelope)


def test_the_border_between_header_and_body_cannot_be_moved() -> None:
    envelope = bytearray(seal(KEY, PURPOSE, {}, b'{"admin": true}'))
    size_at = len(envelope) - len(b'{}{"admin": true}') - 8
    assert envelope[size_at : size_at + 8] == (2).to_bytes(8, "big")
    envelope[size_at : size_at + 8] = (17).to_bytes(8, "big")
    with pytest.raises(SealBroken):
        unseal(KEY, PURPOSE, bytes(envelope))


statuses = st.builds(
    JobStatus,
    num=st.integers(0, 10**6),
    state=st.sampled_from(JobState),
    attempt=st.integers(0, 99),
    instance=st.text(max_size=20),
    zone=st.text(max_size=20),
    heartbeat=floats,
    started=floats,
    step=st.none() | st.integers(),
    metric_name=st.text(max_size=20),
    metric=st.none() | floats,
    log_parts=st.integers(0),
    journal_parts=st.integers(0),
    message=st.text(max_size=80),
    warning=st.text(max_size=80),
)


@given(statuses)
def test_a_status_goes_through_an_objects_metadata_and_back(status: JobStatus) -> None:
    metadata = status.to_metadata()
    assert all(isinstance(value, str) for value in metadata.values())
    assert JobStatus.from_metadata(metadata) == status


def test_a_loss_that_is_no_number_is_reported_as_such() -> None:
    again = JobStatus.from_metadata(JobStatus(0, metric_name="loss", metric=math.nan, step=0).to_metadata())
    assert again.metric is not None
    assert math.isnan(again.metric)
    assert again.step == 0


SPEC = JobSpec(
    sweep="calm-otter",
    num=3,
    overrides=["lr=0.1", "name='ünï'"],
    code=Placement("code/1.tar.gz", "/home/me/project"),
    cwd="/home/me/project",
    script=None,
    data=[Placement("data/1.tar", "/data/a"), Placement("data/2.tar", "/data/b")],
    sweep_dir="/home/me/project/multirun",
    output_dir="/home/me/project/multirun/3",
    variables={"TOKEN": "x"},
    preempt_grace_s=15.0,
    tracking="relay",
    experiment=None,
    sys_path=["/home/me/project"],
)
RESULT = JobResult(
    sweep="calm-otter",
    num=3,
    attempt=2,
    state=JobState.FAILED,
    started=1.5,
    ended=2.5,
    failure=Failure.OUT_OF_MEMORY,
    message="the VM's memory was full",
    signal="SIGKILL",
    log_tail=["a", "b"],
    working_dir_files=["notes.txt"],
    translate=[["/home/me/project", "/tmp/x/home/me/project"]],
)


def test_a_spec_arrives_whole_and_only_as_the_job_that_it_was_made_for() -> None:
    envelope = seal_spec(KEY, SPEC, b"program")
    assert unseal_spec(KEY, "calm-otter", 3, envelope) == (SPEC, b"program")
    for sweep, num in (("calm-otter", 4), ("wild-yak", 3)):
        with pytest.raises(SealBroken):
            unseal_spec(KEY, sweep, num, envelope)


@pytest.mark.parametrize(
    "result", [RESULT, dataclasses.replace(RESULT, state=JobState.COMPLETED, failure=None)]
)
def test_a_result_arrives_whole_and_only_as_the_job_that_it_was_made_for(result: JobResult) -> None:
    envelope = seal_result(KEY, result, b"job return")
    assert unseal_result(KEY, "calm-otter", 3, envelope) == (result, b"job return")
    with pytest.raises(SealBroken):
        unseal_result(KEY, "calm-otter", 4, envelope)


def test_a_spec_cannot_be_passed_off_as_a_result() -> None:
    with pytest.raises(SealBroken):
        unseal_result(KEY, "calm-otter", 3, seal_spec(KEY, SPEC, b""))


def test_only_the_last_three_states_are_final() -> None:
    assert [state.name for state in JobState if state.final] == ["COMPLETED", "FAILED", "CANCELLED"]


def test_a_status_of_an_agent_that_says_less_is_read() -> None:
    status = JobStatus(3, JobState.RUNNING, step=7, total_steps=40, best=0.5, speed=16.0, history=(0.1, 0.5))
    metadata = status.to_metadata()
    assert JobStatus.from_metadata(metadata) == status
    for name in ("first_step", "total_steps", "steps_per_s", "speed", "speed_unit", "best", "history"):
        del metadata[name]
    assert JobStatus.from_metadata(metadata) == JobStatus(3, JobState.RUNNING, step=7)
