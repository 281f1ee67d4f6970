"""Of all who want a job one has it, and only who has it can finish it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from hydra_gce import claims
from hydra_gce.bucket import Bucket, SweepNames
from tests.lossy_proxy import lossy_proxy

NAMES = SweepNames("calm-otter")


def test_a_job_that_nobody_took_has_no_claim(bucket: Bucket) -> None:
    assert claims.read(bucket, NAMES, 0) is None


def test_of_many_that_take_one_job_at_once_exactly_one_wins(bucket: Bucket) -> None:
    many = 12
    start = threading.Barrier(many)

    def take(number: int) -> claims.Claim | None:
        start.wait()
        return claims.take(bucket, NAMES, 7, f"vm-{number}")

    with ThreadPoolExecutor(many) as pool:
        won = [claim for claim in pool.map(take, range(many)) if claim is not None]
    assert len(won) == 1
    assert claims.read(bucket, NAMES, 7) == won[0]
    assert (won[0].attempt, won[0].state) == (1, "held")


def test_of_many_that_take_a_released_job_at_once_exactly_one_wins(bucket: Bucket) -> None:
    first = claims.take(bucket, NAMES, 7, "vm")
    assert first
    claims.release(bucket, NAMES, first)
    many = 12
    start = threading.Barrier(many)

    def take(number: int) -> claims.Claim | None:
        start.wait()
        return claims.take(bucket, NAMES, 7, f"vm-{number}")

    with ThreadPoolExecutor(many) as pool:
        won = [claim for claim in pool.map(take, range(many)) if claim is not None]
    assert [claim.attempt for claim in won] == [2]


def test_a_released_job_goes_to_the_next_attempt(bucket: Bucket) -> None:
    for attempt in (1, 2, 3):
        claim = claims.take(bucket, NAMES, 0, f"vm-{attempt}")
        assert claim is not None
        assert claim.attempt == attempt
        assert claims.take(bucket, NAMES, 0, "another") is None
        assert claims.release(bucket, NAMES, claim) is not None


def test_jobs_are_claimed_apart(bucket: Bucket) -> None:
    assert claims.take(bucket, NAMES, 1, "vm")
    assert claims.take(bucket, NAMES, 11, "vm")


def test_a_finished_job_is_never_taken_again(bucket: Bucket) -> None:
    held = claims.take(bucket, NAMES, 0, "vm")
    assert held
    done = claims.finish(bucket, NAMES, held)
    assert done is not None
    assert done.state == "done"
    assert claims.take(bucket, NAMES, 0, "another") is None
    assert claims.release(bucket, NAMES, held) is None
    assert claims.read(bucket, NAMES, 0) == done


def test_who_lost_a_job_cannot_finish_it_any_more(bucket: Bucket) -> None:
    first = claims.take(bucket, NAMES, 0, "vm-1")
    assert first
    assert claims.release(bucket, NAMES, first)
    assert claims.finish(bucket, NAMES, first) is None
    second = claims.take(bucket, NAMES, 0, "vm-2")
    assert second
    assert claims.finish(bucket, NAMES, first) is None
    assert claims.read(bucket, NAMES, 0) == second
    assert claims.finish(bucket, NAMES, second) is not None


def test_a_claim_whose_answer_was_lost_is_still_ours(bucket: Bucket, storage_url: str) -> None:
    with lossy_proxy(storage_url) as proxy:
        client = Client(
            project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": proxy.url}
        )
        far = Bucket(client.bucket(bucket.name))
        proxy.lose = lambda method, path: method == "POST" and proxy.lost == 0
        held = claims.take(far, NAMES, 0, "vm")
        assert proxy.lost == 1
        assert held is not None
        assert claims.read(bucket, NAMES, 0) == held
        proxy.lost = 0
        done = claims.finish(far, NAMES, held)
        assert proxy.lost == 1
        assert done is not None
        assert claims.read(bucket, NAMES, 0) == done


def test_a_claim_whose_answer_was_lost_is_not_ours_if_another_got_it(
    bucket: Bucket, storage_url: str
) -> None:
    """The request of ours that was lost came too late in the first place."""
    with lossy_proxy(storage_url) as proxy:
        client = Client(
            project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": proxy.url}
        )
        far = Bucket(client.bucket(bucket.name))

        def another_first(method: str, path: str) -> bool:
            if method == "GET" and not claims.read(bucket, NAMES, 0):
                claims.take(bucket, NAMES, 0, "quicker")
            return False

        proxy.lose = another_first
        assert claims.take(far, NAMES, 0, "vm") is None
        held = claims.read(bucket, NAMES, 0)
        assert held is not None
        assert held.instance == "quicker"
