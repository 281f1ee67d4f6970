"""The agent: claims a job, runs it, seals its result; then claims the next one, or deletes its VM.

Started by ``bootstrap`` in the VM's Python environment. Everything that it has to know stands in the VM's metadata.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra_gce import claims
from hydra_gce.agent import notices
from hydra_gce.agent.attempt import Attempt, Lost
from hydra_gce.agent.departure import Cause, Departure
from hydra_gce.agent.instance import CannotDelete, Instance
from hydra_gce.agent.lasting_bucket import LastingBucket, OutOfTime
from hydra_gce.agent.pulse import StatusLine
from hydra_gce.agent.record import VMRecord, booted_at
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.jobs import Failure, JobResult, JobState, JobStatus, seal_result, unseal_spec
from hydra_gce.tracking.journal import NO_ROOM

if TYPE_CHECKING:
    from google.cloud import storage

log = logging.getLogger("hydra_gce.agent")

# The startup script then powers the VM off.
CANNOT_DELETE = 76
_IDLE_POLL_S = 1.0
_QUICK_S = 8.0
_CREDENTIALS_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0)


class Agent:
    """Works for one sweep on one VM."""

    def __init__(
        self, instance: Instance, bucket: storage.Bucket, scratch: Path, departure: Departure
    ) -> None:
        attributes = instance.attributes
        self._instance = instance
        self._bucket = LastingBucket(bucket, departure)
        self._quick_bucket = Bucket(bucket, try_for_s=lambda: _QUICK_S)
        self._names = SweepNames(attributes["hydra-gce-sweep"])
        self._key = bytes.fromhex(attributes["hydra-gce-key"])
        self._own_job = int(attributes["hydra-gce-job"])
        self._any_job = attributes.get("hydra-gce-any-job") == "true"
        self._keep_warm_s = float(attributes.get("hydra-gce-keep-warm-s", "0"))
        self._scratch = scratch
        self.departure = departure

    def work(self) -> None:
        """Takes jobs until there is none for it, its VM is taken back, or one was given to another VM."""
        idle_since = time.monotonic()
        try:
            while not self.departure.is_announced():
                claim = self._next()
                if claim is not None:
                    self._do(claim)
                    idle_since = time.monotonic()
                elif not self._any_job or time.monotonic() - idle_since >= self._keep_warm_s:
                    return
                else:
                    self.departure.wait(_IDLE_POLL_S)
        except Lost:
            log.warning("this VM was given up, and does no more")
        except OutOfTime as error:
            log.warning("%s", error)

    def _next(self) -> Claim | None:
        """Its own job first; then, if it may, any other that nobody holds."""
        claim = claims.take(self._bucket, self._names, self._own_job, self._instance.name)
        if claim is not None or not self._any_job:
            return claim
        for entry in self._bucket.list(self._names.statuses):
            status = JobStatus.from_metadata(entry.metadata)
            if status.state is JobState.PENDING:
                claim = claims.take(self._bucket, self._names, status.num, self._instance.name)
                if claim is not None:
                    return claim
        return None

    def _do(self, claim: Claim) -> None:
        """:raises Lost: the job was given to another VM.
        :raises OutOfTime: the VM goes before the bucket is back.
        """
        log.info("job %d, attempt %d", claim.num, claim.attempt)
        scratch = Path(tempfile.mkdtemp(prefix=f"job-{claim.num}-", dir=self._scratch))
        started = time.time()
        attempt: Attempt | None = None
        try:
            envelope = self._bucket.read(self._names.spec(claim.num))
            spec, program = unseal_spec(self._key, self._names.sweep, claim.num, envelope)
            attempt = Attempt(
                bucket=self._bucket,
                quick_bucket=self._quick_bucket,
                names=self._names,
                key=self._key,
                claim=claim,
                spec=spec,
                program=program,
                zone=self._instance.zone,
                scratch=scratch,
                archives=self._scratch,
                departure=self.departure,
                project=self._instance.project,
            )
            result, job_return = attempt.run()
        except (Lost, OutOfTime):
            raise
        except Exception as error:  # ours, the disk's, the network's: the job must not hang for it
            log.exception("job %d could not be run", claim.num)
            is_full = isinstance(error, OSError) and error.errno in NO_ROOM
            result = JobResult(
                sweep=self._names.sweep,
                num=claim.num,
                attempt=claim.attempt,
                state=JobState.FAILED,
                started=started,
                ended=time.time(),
                failure=Failure.DISK_FULL if is_full else Failure.ENVIRONMENT,
                message=f"the VM could not run the job: {error}",
                log_tail=traceback.format_exc().splitlines()[-20:],
            )
            job_return = b""
        last = attempt.status() if attempt else self._nothing_yet(claim, started)
        if result is None:
            self._release(claim, last)
        else:
            self._finish(claim, result, job_return, last)
        shutil.rmtree(scratch, ignore_errors=True)

    def _nothing_yet(self, claim: Claim, started: float) -> JobStatus:
        return JobStatus(
            claim.num,
            attempt=claim.attempt,
            instance=claim.instance,
            zone=self._instance.zone,
            started=started,
        )

    def _release(self, claim: Claim, last: JobStatus) -> None:
        """The claim first: whoever sees the status finds the job free."""
        if claims.release(self._bucket, self._names, claim) is None:
            raise Lost
        cause = self.departure.cause.value if self.departure.cause else ""
        status = replace(last, state=JobState.PREEMPTED, message=cause)
        StatusLine(self._bucket, self._names, claim).write(status)
        log.info("job %d is free for the next attempt: %s", claim.num, cause)

    def _finish(self, claim: Claim, result: JobResult, job_return: bytes, last: JobStatus) -> None:
        """The result first, then the claim, which makes it count, then the status, which makes it seen."""
        name = self._names.result(claim.num, claim.attempt)
        self._bucket.write(name, seal_result(self._key, result, job_return))
        if claims.finish(self._bucket, self._names, claim) is None:
            log.warning(
                "job %d was given to another VM in the meantime; this result does not count", claim.num
            )
            raise Lost
        status = replace(last, state=result.state, heartbeat=time.time(), message="")
        StatusLine(self._bucket, self._names, claim).write(status)
        log.info("job %d: %s", claim.num, result.state.value)


def main() -> int:
    """The exit status for the startup script."""
    logging.basicConfig(level=logging.INFO, format="hydra-gce: %(message)s", stream=sys.stdout)
    started = time.time()
    departure = Departure()
    notices.heed_sigterm(departure)
    instance = Instance.here()
    notices.watch(departure)
    bucket = _bucket(instance)
    record = VMRecord(Bucket(bucket, lambda: _QUICK_S), instance, started, booted_at(started))
    record.begin()
    try:
        Agent(instance, bucket, Path(tempfile.mkdtemp(prefix="hydra-gce-")), departure).work()
    except Exception:
        log.exception("the agent gives up")
    record.end(time.time())
    # What was announced as an end ends the VM by itself; of a maintenance it may come back, or have an hour still.
    if departure.is_announced() and departure.cause is not Cause.MAINTENANCE:
        return 0
    return _delete(instance)


def _bucket(instance: Instance) -> storage.Bucket:
    """The sweep's bucket, as Google's client has it. It gets its tokens from the metadata server, which may be slow."""
    os.environ.setdefault("GCE_METADATA_TIMEOUT", "30")  # Google's own is 3 s; read at the import
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage

    for pause in _CREDENTIALS_PAUSES:
        try:
            client = storage.Client(project=instance.project)
            break
        except GoogleAuthError as error:
            log.warning("there are no credentials yet (%s); trying again", error)
            time.sleep(pause)
    else:
        client = storage.Client(project=instance.project)
    bucket: storage.Bucket = client.bucket(instance.attributes["hydra-gce-bucket"])
    return bucket


def _delete(instance: Instance) -> int:
    log.info("deleting %s", instance.name)
    try:
        instance.delete()
    except CannotDelete as error:
        log.error("this VM cannot delete itself (%s): it is powered off, and its disk stays", error)
        return CANNOT_DELETE
    return 0


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    # Threads that wait for a bucket that is away must not keep the VM.
    os._exit(status)
