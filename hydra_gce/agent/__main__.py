"""The agent: claims a job, runs it, seals its result; then claims the next one, or deletes its VM.

Started by ``bootstrap`` in the VM's Python environment. Everything that it has to know stands in the VM's metadata.
"""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
from dataclasses import replace
from pathlib import Path

from hydra_gce import claims
from hydra_gce.agent.attempt import Attempt, write_status
from hydra_gce.agent.instance import Instance, metadata
from hydra_gce.bucket import Bucket, SweepNames
from hydra_gce.claims import Claim
from hydra_gce.errors import BucketError
from hydra_gce.jobs import Failure, JobResult, JobState, JobStatus, seal_result, unseal_spec

log = logging.getLogger("hydra_gce.agent")

_IDLE_POLL_S = 1.0


class Agent:
    """Works for one sweep on one VM."""

    def __init__(self, instance: Instance, bucket: Bucket, scratch: Path) -> None:
        attributes = instance.attributes
        self._instance = instance
        self._bucket = bucket
        self._names = SweepNames(attributes["hydra-gce-sweep"])
        self._key = bytes.fromhex(attributes["hydra-gce-key"])
        self._own_job = int(attributes["hydra-gce-job"])
        self._any_job = attributes.get("hydra-gce-any-job") == "true"
        self._keep_warm_s = float(attributes.get("hydra-gce-keep-warm-s", "0"))
        self._scratch = scratch
        self.leave = threading.Event()

    def work(self) -> None:
        """Takes jobs until there is none for it, or its VM is taken back."""
        idle_since = time.monotonic()
        while not self.leave.is_set():
            claim = self._next()
            if claim is not None:
                self._do(claim)
                idle_since = time.monotonic()
            elif not self._any_job or time.monotonic() - idle_since >= self._keep_warm_s:
                return
            else:
                self.leave.wait(_IDLE_POLL_S)

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
        log.info("job %d, attempt %d", claim.num, claim.attempt)
        scratch = Path(tempfile.mkdtemp(prefix=f"job-{claim.num}-", dir=self._scratch))
        started = time.time()
        try:
            envelope = self._bucket.read(self._names.spec(claim.num))
            spec, program = unseal_spec(self._key, self._names.sweep, claim.num, envelope)
            attempt = Attempt(
                self._bucket,
                self._names,
                self._key,
                claim,
                spec,
                program,
                self._instance.zone,
                scratch,
                self._scratch,
                self.leave,
            )
            result, job_return = attempt.run()
        except Exception as error:  # ours, the disk's, the network's: the job must not hang for it
            log.exception("job %d could not be run", claim.num)
            result = JobResult(
                sweep=self._names.sweep,
                num=claim.num,
                attempt=claim.attempt,
                state=JobState.FAILED,
                started=started,
                ended=time.time(),
                failure=Failure.ENVIRONMENT,
                message=f"the VM could not run the job: {error}",
                log_tail=traceback.format_exc().splitlines()[-20:],
            )
            job_return = b""
        if result is None:
            claims.release(self._bucket, self._names, claim)
        else:
            self._finish(claim, result, job_return)
        shutil.rmtree(scratch, ignore_errors=True)

    def _finish(self, claim: Claim, result: JobResult, job_return: bytes) -> None:
        """The result first, then the claim, which makes it count, then the status, which makes it seen."""
        name = self._names.result(claim.num, claim.attempt)
        self._bucket.write(name, seal_result(self._key, result, job_return))
        if claims.finish(self._bucket, self._names, claim) is None:
            log.warning(
                "job %d was given to another VM in the meantime; this result does not count", claim.num
            )
            return
        entry = self._bucket.find(self._names.status(claim.num))
        known = JobStatus.from_metadata(entry.metadata) if entry else JobStatus(claim.num)
        status = replace(
            known, num=claim.num, state=result.state, attempt=claim.attempt, heartbeat=time.time()
        )
        write_status(self._bucket, self._names, status)
        log.info("job %d: %s", claim.num, result.state.value)


def watch_preemption(leave: threading.Event) -> None:
    """Sets ``leave`` when Compute Engine takes the VM back."""
    wait = "?wait_for_change=true&timeout_sec=60"
    while not leave.is_set():
        try:
            if metadata("instance/preempted").strip() == "TRUE":
                break
            metadata(f"instance/preempted{wait}", timeout=90)
        except (urllib.error.URLError, OSError):
            leave.wait(2.0)
    leave.set()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="hydra-gce: %(message)s", stream=sys.stdout)
    from google.cloud import storage

    instance = Instance.here()
    client = storage.Client(project=instance.project)
    bucket = Bucket(client.bucket(instance.attributes["hydra-gce-bucket"]))
    agent = Agent(instance, bucket, Path(tempfile.mkdtemp(prefix="hydra-gce-")))
    signal.signal(signal.SIGTERM, lambda *_: agent.leave.set())
    threading.Thread(target=watch_preemption, args=(agent.leave,), daemon=True).start()
    try:
        agent.work()
    except BucketError:
        log.exception("the agent gives up")
    finally:
        if not agent.leave.is_set():
            log.info("deleting %s", instance.name)
            instance.delete()


if __name__ == "__main__":
    main()
