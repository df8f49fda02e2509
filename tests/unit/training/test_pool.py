"""Runs given out to workers: what is lost, slow or failed is given out again, and nothing twice at the end."""

import threading

import pytest
from diffusion_probe.training.client.jobs import Job
from diffusion_probe.training.fleet.claims import LOOKS
from diffusion_probe.training.fleet.pool import LEAST_SLOW, Pool, Worker

A, B, C = (Worker(f"id of {name}", name) for name in "ABC")
REPORT = {"run_bytes": 1, "free_bytes": 10}


class Folder:
    """A dataset of keys."""

    def __init__(self, folder, begun=True):
        self.folder, self.begun, self.there = folder, begun, set()

    def keys(self):
        return set(self.there)

    def has(self, key):
        return key in self.there


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pool(tmp_path, clock):
    """Pools over one folder and clock, as of several processes."""

    def make(count=3, begun=True):
        made = Pool(Folder(tmp_path, begun), [Job(str(each), (each,), f"k{each}") for each in range(count)], 40, clock)
        made.live |= {"A", "B"}
        return made

    return make


def chosen(pool, worker):
    """The key that a worker gets at once, None if it would have to wait."""
    work = pool._choose(worker)
    return pool._open(work) if work else None


def record(pool, work, worker, seconds=1.0):
    pool.collection.there.add(work.job.key)
    pool.done(work, worker, seconds, REPORT)


def test_each_run_goes_to_one_worker_and_all_are_counted(pool):
    several = pool()
    works = [several.next(worker) for worker in (A, B, A)]
    assert sorted(work.job.key for work in works) == ["k0", "k1", "k2"] and chosen(several, C) is None
    for work in works:
        record(several, work, A)
    assert (several.recorded, several.to_go, several.next(A)) == (3, 0, None)


def test_what_is_there_already_is_not_given_out(pool, tmp_path):
    first = pool()
    first.collection.there |= {"k0", "k1", "k2"}
    assert first.next(A) is None and first.recorded == 3


def test_a_run_of_a_lost_server_is_given_to_another(pool):
    several = pool(1)
    work = several.next(A)
    assert chosen(several, B) is None
    several.give_back(work)
    again = several.next(B)
    assert again.job == work.job
    several.give_back(work)  # late news of the lost server
    assert chosen(several, A) is None and several.claims.current("k0") == again.claim


def test_a_run_of_a_killed_process_is_taken_over_after_its_heartbeat_stood_still(pool, clock):
    killed, here = pool(1), pool(1)
    killed.claims.beat(A.id, 1)
    killed.next(A)
    took = []
    for _ in range(LOOKS + 1):
        took.append(chosen(here, B))
        clock.now += here.between_looks
    assert took[:-1] == [None] * LOOKS and took[-1].claim.number == 1


def test_a_run_of_a_living_process_is_left_to_it(pool, clock):
    other, here = pool(1), pool(1)
    work = other.next(A)
    for count in range(5 * LOOKS):
        other.claims.beat(A.id, count)
        assert chosen(here, B) is None
        clock.now += here.between_looks
    here.collection.there.add("k0")
    record(other, work, A)
    assert here.next(B) is None and here.recorded == other.recorded == 1


def test_a_slow_run_is_started_again_by_an_idle_worker_and_counts_once(pool, clock):
    several = pool(2)
    slow, quick = several.next(A), several.next(B)
    record(several, quick, B, seconds=5.0)
    assert chosen(several, B) is None
    for count in range(4):
        several.claims.beat(A.id, count)
        clock.now += max(LEAST_SLOW, 15.0) / 3
        again = chosen(several, B)
    assert again.job == slow.job
    record(several, again, B)
    record(several, slow, A)
    assert (several.recorded, several.to_go) == (2, 0)


def test_a_run_that_fails_goes_to_another_server_and_fails_for_good_on_the_second(pool):
    several = pool(1)
    assert not several.fail(several.next(A), A, "black")
    assert chosen(several, A) is None and several.to_go == 1
    assert several.fail(several.next(B), B, "black") and several.failed[0][1] == "black"
    assert several.next(A) is None


def test_a_run_that_failed_on_the_only_server_left_is_not_waited_for(pool):
    several = pool(1)
    several.fail(several.next(A), A, "black")
    several.set_live("B", False)
    assert several.next(A) is None and len(several.failed) == 1


def test_until_a_first_run_is_there_only_one_worker_records(pool):
    several = pool(3, begun=False)
    first = several.next(A)
    assert first.first is not None and chosen(several, B) is None
    several.give_back(first)
    second = several.next(B)
    assert second.first is not None and chosen(several, A) is None
    several.collection.begun = True
    record(several, second, B)
    assert several.next(A).first is None


def test_workers_of_two_processes_share_all_runs_without_a_double(pool):
    pools, seen = [pool(40), pool(40)], []
    pools[1].collection = pools[0].collection

    def work(pool, worker):
        while (work := pool.next(worker)) is not None:
            seen.append(work.job.key)
            record(pool, work, worker, 0.0)

    threads = [threading.Thread(target=work, args=(pools[n % 2], Worker(f"id{n}", f"s{n}"))) for n in range(6)]
    [thread.start() for thread in threads]
    [thread.join(20) for thread in threads]
    assert sorted(seen) == sorted(f"k{each}" for each in range(40))
    assert [pool.to_go for pool in pools] == [0, 0]
