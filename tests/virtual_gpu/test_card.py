"""The virtual card itself: what torch would do on a real one, counted, with small tensors."""

import sys

import pytest
import torch

from dev.virtual_gpu.card import Card
from dev.virtual_gpu.driver import plugged_in
from dev.virtual_gpu.tensors import OnCard

MIB = 2**20


@pytest.fixture
def card():
    """A card of 64 MiB that torch sees."""
    card = Card(1 / 16)
    with plugged_in(card), OnCard(card):
        yield card


def test_small_tensors_keep_their_values_and_large_ones_their_shapes(card):
    small = torch.arange(6.0).reshape(2, 3).to("cuda")
    assert (small * 2).sum().item() == 30.0
    large = torch.zeros(1024, 1024).to("cuda") @ torch.zeros(1024, 4).to("cuda")
    assert large.shape == (1024, 4) and large.device.type == "cuda"


def test_tensors_on_two_devices_do_not_mix(card):
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(3).to("cuda") + torch.ones(3)
    assert (torch.ones(3).to("cuda") + torch.tensor(1.0)).sum().item() == 6.0, "a number on the host may go along"


def test_a_product_costs_two_operations_for_each_pair(card):
    a, b = torch.ones(8, 16).to("cuda"), torch.ones(16, 4).to("cuda")
    before = card.open_ledger().flops.total()
    a @ b
    assert card.ledger.flops.total() - before == 2 * 8 * 16 * 4


def test_attention_costs_two_products_and_no_memory_for_its_map(card):
    query = torch.ones(1, 2, 1024, 64, dtype=torch.float16).to("cuda")
    card.open_ledger()
    torch.nn.functional.scaled_dot_product_attention(query, query, query)
    assert card.ledger.flops.total() == 4 * 2 * 1024 * 1024 * 64
    assert card.ledger.peak - card.live <= query.numel() * 2


def test_memory_is_given_back_and_its_end_is_an_error(card):
    tensor = torch.empty(40 * MIB, dtype=torch.uint8, device="cuda")
    assert torch.cuda.mem_get_info() == (24 * MIB, 64 * MIB)
    with pytest.raises(torch.OutOfMemoryError):
        tensor.clone()
    assert card.ledger.out_of_memory == 1
    del tensor
    assert card.free == 64 * MIB
    views = torch.empty(MIB, dtype=torch.uint8, device="cuda").chunk(4)
    assert card.live == MIB and len(views) == 4, "views share the memory of one storage"


def test_reading_waits_and_is_counted_with_its_line(card):
    tensor = torch.ones(4).to("cuda", non_blocking=True)
    card.open_ledger()
    tensor.sum().item()
    tensor.cpu()
    tensor.tolist()
    line = sys._getframe().f_lineno
    waits = card.ledger.waits
    lines = [f"tests/virtual_gpu/test_card.py:{line - before}" for before in (3, 2, 1)]
    assert [text.rsplit(" ", 1)[0] for text in waits] == [
        f"{what} {where}" for what, where in zip(("item", "to host", "tolist"), lines, strict=True)
    ]


def test_transfers_are_counted_by_direction(card):
    tensor = torch.ones(1000).to("cuda")
    assert (card.ledger.to_card, card.ledger.to_host) == (4000, 0)
    tensor.half().cpu()
    assert card.ledger.to_host == 2000
