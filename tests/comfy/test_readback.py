"""Values are read from a device once, and many at a time."""

import torch
from diffusion_probe.dev.virtual_gpu.card import Card
from diffusion_probe.dev.virtual_gpu.driver import plugged_in
from diffusion_probe.dev.virtual_gpu.tensors import OnCard
from diffusion_probe.engine.core.readback import forget_sigma, note_sigma, sigma_of, to_host


def tensors():
    return [
        torch.arange(5, dtype=torch.float16),
        torch.rand(2, 3, 4),
        torch.tensor([True, False, True]),
        torch.tensor(7, dtype=torch.int64),
        torch.rand(3, 4).to(torch.bfloat16).T,
        torch.empty(0),
    ]


def test_tensors_of_all_types_come_back_as_they_were_with_one_wait():
    values, card = tensors(), Card(1)
    with plugged_in(card), OnCard(card):
        there = [value.to("cuda") for value in values]
        card.open_ledger()
        back = to_host([there[0], None, *there[1:], values[1]])
        assert card.ledger.waits.total() == 1
    assert back.pop(1) is None and back.pop() is values[1]
    for one, copy in zip(values, back, strict=True):
        assert copy.dtype == one.dtype and copy.shape == one.shape and torch.equal(copy, one)
        assert copy.untyped_storage().nbytes() == max(one.numel(), 0) * one.element_size(), "it holds no other memory"


def test_what_is_on_the_host_is_not_copied():
    values = tensors()
    assert all(copy is one for copy, one in zip(to_host(values), values, strict=True))


def test_a_noise_level_is_read_once_and_not_at_all_where_it_is_known():
    card = Card(1)
    with plugged_in(card), OnCard(card):
        timestep, known = torch.full((2,), 3.5).to("cuda"), torch.full((2,), 3.5).to("cuda")
        card.open_ledger()
        assert [sigma_of(timestep), sigma_of(timestep)] == [3.5, 3.5]
        assert card.ledger.waits.total() == 1
        note_sigma(known, 3.5)
        assert sigma_of(known) == 3.5 and card.ledger.waits.total() == 1
        known.fill_(1.5)
        forget_sigma(known)
        assert sigma_of(known) == 1.5, "a sampler may write into the same tensor"
