"""Store of large pictures: bounded, and the last runs are kept."""

import pytest
from diffusion_probe.engine.board.large_pictures import LargePictures


def test_the_pictures_of_the_oldest_runs_go_first():
    store = LargePictures(most_bytes=1000)
    for number in range(5):
        for row in range(4):
            store.put((f"run {number}", "7"), f"secret {number}", row, bytes(100))
        assert store.size <= 1000
    assert store.picture(("run 4", "7"), 3) == bytes(100) and store.secret_of(("run 3", "7")) == "secret 3"
    assert store.picture(("run 0", "7"), 0) is None
    with pytest.raises(KeyError):
        store.secret_of(("run 0", "7"))


def test_a_row_has_one_picture_and_a_run_in_progress_keeps_all():
    store = LargePictures(most_bytes=10)
    store.put(("run", "7"), "secret", 0, b"early")
    store.put(("run", "7"), "secret", 0, b"later")
    store.put(("run", "7"), "secret", 1, bytes(100))
    assert store.picture(("run", "7"), 0) == b"later" and store.size == 105
    assert store.picture(("run", "7"), 2) is None and store.picture(("run", "8"), 0) is None
