"""Nodes with models of real widths on virtual cards: devices, memory, rows of a call, waits and transfers."""

import pytest

FLUX, SDXL = "FLUX.1-dev fp8", "SDXL fp16"
QUICK = {"few_blocks": True, "steps": 4}
NODES = ("Attach Probe", "Attach Recorder", "Prune in Flight", "TC-Padé Cache")
PROBES = ("trained probe", "fast decoder", "full VAE")


def plain(**changes):
    return {"model": FLUX, "card_gib": 12, "rows": 4, **QUICK, "run": "KSampler", **changes}


def search(**changes):
    return plain(**{"run": "Seed Search", "rows": 8, "budget": 8, "policy": "one cut", **changes})


def assert_runs(result, beside):
    """It ran without an error, such as one of tensors on two devices, and found as much memory as plain sampling."""
    assert result["error"] is None, result
    assert result["out_of_memory"] <= beside["out_of_memory"], result


def assert_joined(result, beside):
    """A call has as many rows as a plain batch's, or those of all candidates that wait."""
    waiting = beside["rows"] * (beside["calls"][0] // beside["rows"])
    assert result["calls"][0] >= min(waiting, max(beside["calls"])), (result["calls"], beside["calls"])


def waits_per_call(result):
    return result["waits_in_steps"] / len(result["calls"])


def test_a_search_joins_as_many_rows_as_a_plain_batch_and_does_not_wait(counted):
    batch, one_cut = counted([plain(rows=8), search()])
    assert_runs(one_cut, batch)
    assert_joined(one_cut, batch)
    assert waits_per_call(batch) == 0, "stock Euler waits for nothing in its steps"
    # a read per look, one for each run that starts and ends, and none in a step
    assert one_cut["waits_in_steps"] <= 2 + 8 + 1
    assert one_cut["to_card"] < 1.2 * batch["to_card"]


def test_a_captured_evaluation_waits_once(counted):
    batch, attached = counted([plain(), plain(run="Attach Probe")])
    assert_runs(attached, batch)
    reads = {line: n for line, n in attached["waits"].items() if "attention.py" in line or "activation.py" in line}
    assert not reads and attached["waits_in_steps"] <= 4 + 12, attached["waits"]
    assert sum(attached["flops"].values()) < 1.5 * sum(batch["flops"].values())


@pytest.mark.long
@pytest.mark.parametrize("model", [FLUX, SDXL])
@pytest.mark.parametrize("run", NODES)
def test_every_node_runs_wherever_plain_sampling_does(counted, model, run):
    batch, result = counted([plain(model=model), plain(model=model, run=run)])
    assert_runs(result, batch)
    assert max(result["calls"]) == max(batch["calls"])


@pytest.mark.long
@pytest.mark.parametrize("model", [FLUX, SDXL])
@pytest.mark.parametrize("run", ["Attach Probe", "Seed Search"])
def test_a_controlnet_runs_beside(counted, model, run):
    size = {"model": model, "card_gib": 24, "controlled": True}
    batch, result = counted([plain(**size), plain(**size, run=run)])
    assert_runs(result, batch)


@pytest.mark.long
@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize(("model", "card"), [(FLUX, 8), (FLUX, 12), (SDXL, 8), ("SDXL fp8", 8)])
def test_a_search_by_each_probe_runs_on_small_cards(counted, model, card, probe):
    batch, result = counted([plain(model=model, card_gib=card), search(model=model, card_gib=card, probe=probe)])
    assert_runs(result, batch)
    assert_joined(result, batch)


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "card"),
    [("FLUX.1-dev fp8", 12), ("FLUX.1-dev fp8", 16), ("FLUX.1-dev bf16", 12), ("FLUX.1-dev bf16", 24), (SDXL, 8)],
)
def test_a_search_with_a_whole_model_moves_little_more_than_a_plain_batch(counted, model, card):
    size = {"model": model, "card_gib": card, "few_blocks": False, "steps": 20}
    four, one_cut = counted([plain(**size), search(**size, rows=16, budget=4)])
    assert_runs(one_cut, four)
    moved = [result["to_card"] + result["to_host"] for result in (four, one_cut)]
    assert moved[1] <= 1.25 * moved[0]
    if moved[1] > 0.9 * moved[0]:  # fewer rows in a call leave more of the weights on the card
        assert_joined(one_cut, four)
    assert sum(one_cut["flops"].values()) <= 1.05 * sum(four["flops"].values())
    assert waits_per_call(one_cut) <= 1


@pytest.mark.long
def test_a_call_that_is_not_computed_again_is_counted_as_if_it_were(counted):
    size = {"model": SDXL, "rows": 4, "budget": 3}
    (replayed,), (computed,) = counted([search(**size)]), counted([search(**size, replays=False)])
    assert {**replayed, "replays": False} == computed
