"""Sizes of pictures."""

import torch
from diffusion_probe.engine.core.pictures import at_most


def test_pictures_are_averaged_to_their_longer_side_and_small_ones_kept():
    images = torch.rand(2, 8, 16, 3)
    small = at_most(images, 4)
    assert small.shape == (2, 2, 4, 3)
    assert torch.allclose(small[1, 0, 0], images[1, :4, :4].mean((0, 1)), atol=1e-6)
    assert torch.equal(at_most(images[0], 4), small[0]), "one picture as those of a batch"
    assert at_most(images, 16) is images
