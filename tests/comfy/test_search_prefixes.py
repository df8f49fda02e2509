"""Store of kept prefixes: its bounds in memory and time, its keys, and threads."""

import threading
import time
import weakref

import pytest
import torch
from diffusion_probe.engine.core.scores import SeedName
from diffusion_probe.engine.seed_search.hub.prefix import Prefix
from diffusion_probe.engine.seed_search.prefixes import PrefixStore, RunKey, RunKeys


class Thing:
    """A MODEL, as far as keys read it."""

    def __init__(self):
        self.patches_uuid, self.model = "1", self


MODEL = Thing()
KB = 256
"""Numbers of float32 that take a kilobyte."""


def key(name, thing=MODEL):
    return RunKey(str(name).encode(), (weakref.ref(thing),))


def prefix(kilobytes=2):
    return Prefix(tuple(torch.zeros(KB) for _ in range(kilobytes - 1)), torch.zeros(KB))


def test_the_least_recently_used_are_removed_where_memory_ends():
    store = PrefixStore(limit_bytes=6 * 1024)
    store.add({key(n): prefix() for n in range(3)})
    assert len(store) == 3 and store.size() == 6 * 1024
    assert store.find(key(0)) is not None
    store.add({key(3): prefix()})
    assert store.find(key(1)) is None and all(store.find(key(n)) is not None for n in (0, 2, 3))
    store.add({key(4): prefix(7)})
    assert len(store) == 0 and store.size() == 0, "what is larger than the store is not kept"


def test_one_that_is_kept_again_takes_the_position_of_the_old_one():
    store = PrefixStore(limit_bytes=6 * 1024)
    store.add({key(0): prefix()})
    newer = prefix(3)
    store.add({key(0): newer})
    assert store.find(key(0)) is newer and store.size() == 3 * 1024


def test_each_is_removed_after_its_time():
    now = [0.0]
    store = PrefixStore(limit_seconds=10, clock=lambda: now[0])
    store.add({key(0): prefix()})
    now[0] = 6
    store.add({key(1): prefix()})
    now[0] = 9.9
    assert store.find(key(0)) is not None
    now[0] = 10
    assert store.find(key(0)) is None and store.find(key(1)) is not None
    now[0] = 16
    assert store.find(key(1)) is None and store.size() == 0
    store.clear()


def test_time_removes_them_while_nothing_runs():
    store = PrefixStore(limit_seconds=0.05)
    before = threading.active_count()
    store.add({key(n): prefix() for n in range(20)})
    assert threading.active_count() <= before + 1
    deadline = time.monotonic() + 10
    while len(store._kept) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(store._kept) == 0


def test_those_of_a_model_that_is_gone_are_removed():
    store, thing = PrefixStore(), Thing()
    thing.model = None
    known = key(0, thing)
    store.add({known: prefix(), key(1): prefix()})
    assert known.alive
    del thing
    assert not known.alive and store.find(key(1)) is not None and len(store) == 1
    store.clear()
    assert store.size() == 0


def test_many_threads_may_use_it_at_once():
    store = PrefixStore(limit_bytes=40 * 1024)
    wrong = []

    def work(start):
        try:
            for n in range(start, start + 200):
                store.add({key(n % 50): prefix()})
                store.find(key((n * 7) % 50))
                assert store.size() <= 40 * 1024
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(31 * n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong and len(store) == 20
    store.clear()


BASE = {"text": torch.arange(6.0), "pooled": {"a": torch.ones(2)}, "steps": 20, "mask": None}
INPUTS = {
    "a number of a tensor": {**BASE, "text": torch.arange(6.0) + 1e-6},
    "a shape": {**BASE, "text": torch.arange(6.0).reshape(2, 3)},
    "a type": {**BASE, "text": torch.arange(6)},
    "an entry": {**BASE, "more": 1},
    "a number": {**BASE, "steps": 21},
    "a kind of number": {**BASE, "steps": 20.0},
    "a nested tensor": {**BASE, "pooled": {"a": torch.zeros(2)}},
}


@pytest.mark.parametrize("what", INPUTS)
def test_a_key_differs_by(what):
    keys = RunKeys(MODEL)
    assert keys.of(SeedName(7), (BASE,)) != keys.of(SeedName(7), (INPUTS[what],))


def test_a_key_depends_on_noise_model_and_its_patches_and_on_no_copy():
    copied = {**BASE, "text": BASE["text"].clone(), "pooled": {"a": torch.ones(2)}}
    one = RunKeys(MODEL).of(SeedName(7), (BASE,))
    assert one == RunKeys(MODEL).of(SeedName(7), (copied,)) and hash(one) == hash(
        RunKeys(MODEL).of(SeedName(7), (copied,))
    )
    assert one != RunKeys(MODEL).of(SeedName(8), (BASE,))
    assert one != RunKeys(MODEL).of(SeedName(7, None, ((9, 0.15),)), (BASE,))
    other, patched = Thing(), Thing()
    first = RunKeys(patched).of(SeedName(7), (BASE,))
    patched.patches_uuid = "2"
    assert one != RunKeys(other).of(SeedName(7), (BASE,)) and first != RunKeys(patched).of(SeedName(7), (BASE,))


def test_what_can_not_be_compared_has_no_key():
    keys = RunKeys(MODEL)
    assert keys.of(SeedName(7), None) is None and keys.of(SeedName(7), ({"control": object()},)) is None
    assert PrefixStore().find(None) is None


def test_a_prefix_fits_the_same_latent_only():
    kept = Prefix((), torch.arange(4.0))
    assert kept.fits(torch.arange(4.0)) and not kept.fits(torch.arange(4.0).double())
    assert not kept.fits(torch.nextafter(torch.arange(4.0), torch.tensor(9.0)))
