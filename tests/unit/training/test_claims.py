"""Claims on runs and the heartbeats by which they end."""

import os
import threading

from diffusion_probe.training.fleet.claims import LOOKS, Claims


def test_of_many_threads_that_claim_a_run_exactly_one_gets_it(tmp_path):
    claims, taken = Claims(tmp_path), []

    def take(owner):
        for key in "abcdefgh":
            taken.append((key, claims.take(key, owner)))

    threads = [threading.Thread(target=take, args=(f"owner{number}",)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(key for key, claim in taken if claim is not None) == list("abcdefgh")


def test_a_claim_ends_after_looks_at_one_heartbeat_count_and_lives_while_it_counts(tmp_path):
    here, there = Claims(tmp_path), Claims(tmp_path)
    there.beat("other", 1)
    claim = there.take("a", "other")
    for count in range(2, 4 * LOOKS):
        assert not here.ended(here.current("a"))
        there.beat("other", count)
    assert [here.ended(claim) for _ in range(LOOKS + 1)] == [False] * LOOKS + [True]


def test_clocks_of_files_that_are_a_year_apart_change_nothing(tmp_path):
    here, there = Claims(tmp_path), Claims(tmp_path)
    claim = there.take("a", "other")
    for count in range(3 * LOOKS):
        there.beat("other", count)
        for path in there.folder.iterdir():
            os.utime(path, (count % 2 * 4e9, count % 2 * 4e9))  # 1970, 2096
        assert not here.ended(claim)


def test_an_owner_that_never_had_a_heartbeat_is_lost_too(tmp_path):
    claims = Claims(tmp_path)
    claim = claims.take("a", "gone")
    assert [claims.ended(claim) for _ in range(LOOKS + 1)][-1]


def test_only_one_takes_a_lost_claim_over_and_the_first_owner_cannot_release_it(tmp_path):
    claims = Claims(tmp_path)
    lost = claims.take("a", "lost")
    second, third = claims.take("a", "second", lost), claims.take("a", "third", lost)
    assert third is None and claims.current("a") == second and second.number == 1
    claims.release(lost)
    assert claims.current("a") == second and claims.take("a", "fourth") is None
    claims.release(second)
    assert claims.current("a") is None
    again = claims.take("a", "fifth")
    claims.release(lost)  # the number is the same, the owner isn't
    assert claims.current("a") == again
