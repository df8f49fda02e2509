"""Rows of the table of virtual cards, from trials that were not run."""

from benchmarks import virtual_gpu


def trial(run, **changes):
    waiting = {"flops": {"model": 100}, "to_card": 50, "to_host": 50, "waits_in_steps": 3, "calls": [8, 6, 2]}
    fixed = {"model": "SDXL fp16", "card_gib": 8.0, "probe": "trained probe", "policy": "one cut", "waiting": 14}
    return {"run": run, **fixed, **waiting, "peak": 2**30, "out_of_memory": 0, "error": None, **changes}


def rows_of(*searches):
    return list(virtual_gpu.rows([trial("KSampler", waiting=8, calls=[8] * 20), *searches]))


def test_figures_of_a_search_are_ratios_to_the_plain_images_before_it():
    (row,) = rows_of(trial("Seed Search", flops={"model": 90, "decode": 15}, to_card=70))
    assert (row["flops_ratio"], row["bytes_ratio"], row["waits_per_joined_step"]) == (1.05, 1.2, 1.0)
    assert (row["rows_per_call"], row["plain_rows_per_call"], row["joined_steps"]) == (8, 8, 3)
    assert all(row["bars"].values())


def test_a_bar_that_is_not_kept_is_named_in_the_table_and_counted():
    worse = trial("Seed Search", flops={"model": 106}, to_card=90, waits_in_steps=4, calls=[4, 4], out_of_memory=1)
    (row,) = rows_of(worse)
    assert not any(row["bars"].values()), row["bars"]
    text = virtual_gpu.table([row])
    assert "waits over  flops over  bytes over  rows over  memory over" in text
    assert text.endswith("5 of 5 bars are not kept.")


def test_previews_by_the_full_vae_have_no_bars_of_flops_and_bytes():
    full, fast = rows_of(
        *(
            trial("Seed Search", flops={"model": 112}, probe=probe, policy="sequential")
            for probe in ("full VAE", "fast decoder")
        )
    )
    assert set(full["bars"]) == {"waits", "rows", "memory"} and fast["bars"]["flops"], "SDXL may take 1.12 ×"
