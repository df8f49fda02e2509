"""All learned networks, and the joint probe: any sizes, every weight used, what belongs to a row decides its score."""

import pytest
import torch
import torch.nn.functional as F
from diffusion_probe.probe_models.activation_ranker import ActivationRanker
from diffusion_probe.probe_models.attention_cnn import AttentionCNN
from diffusion_probe.probe_models.inputs import SPELLING, Inputs, spelled
from diffusion_probe.probe_models.joint import JointProbe
from diffusion_probe.probe_models.layers import CONDITION, AttentionLayer, RelativePositions, cell_positions
from diffusion_probe.probe_models.map_features import centres
from diffusion_probe.probe_models.norms import ChannelNorm, FeatureNorm

BLOCKS, LATENT, ACTIVATION, TEXT = 3, 4, 6, 10


def joint(**options):
    torch.manual_seed(0)
    network = JointProbe(
        BLOCKS,
        2,
        latent=LATENT,
        activation=ACTIVATION,
        text=TEXT,
        **{"width": 16, "channels": 8, "looking": 1, "seeing": 1, "reading": 1, "layers": 2, **options},
    )
    for parameter in network.parameters():  # so that what starts at zero takes part, too
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def ranker():
    torch.manual_seed(0)
    return ActivationRanker(BLOCKS, 2, ACTIVATION, TEXT, widths=(8, 16), vector=16).eval()


def cnn(**options):
    torch.manual_seed(0)
    network = AttentionCNN(BLOCKS, 2, text=TEXT, **{"widths": (8, 16), "layers": 1, "width": 16, **options})
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def random_inputs(rows=2, words=3, side=(8, 8), grid=(4, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)

    def some(*shape):
        return torch.rand(rows, *shape, generator=generator)

    return Inputs(
        percent=some(),
        maps=some(words, BLOCKS, *grid) / 10,
        present=torch.ones(rows, words, dtype=torch.bool),
        text=some(words, TEXT),
        spelling=some(words, SPELLING),
        activation=some(ACTIVATION, *grid),
        latent=some(LATENT, *side),
        denoised=some(LATENT, *side),
    )


def changed(inputs, **values):
    return Inputs(**{**vars(inputs), **values})


@pytest.mark.parametrize(
    "build",
    [
        lambda: JointProbe(10, 3, latent=16, activation=48, text=4096),
        lambda: ActivationRanker(10, 3, 48, 4096),
        lambda: AttentionCNN(10, 3, text=4096),
    ],
)
def test_the_sizes_of_flux_dev_cost_at_most_four_million_parameters(build):
    assert sum(parameter.numel() for parameter in build().parameters()) <= 4e6


@pytest.mark.parametrize("side, grid", [((8, 8), (4, 4)), ((7, 12), (4, 6)), ((2, 3), (1, 2)), ((32, 20), (16, 10))])
@pytest.mark.parametrize("words", [1, 5])
@pytest.mark.parametrize("build", [joint, ranker, cnn])
def test_any_number_of_words_and_any_size_give_one_number_per_head(build, words, side, grid):
    scores = build()(random_inputs(2, words, side, grid))
    assert scores.shape == (2, 2) and scores.isfinite().all()


def test_every_weight_of_the_joint_probe_has_a_part_in_score_or_finished_latent():
    network, inputs = joint(), random_inputs()
    (network(inputs).square().sum() + network.encode_rows(inputs)[2].square().sum()).backward()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.abs().max() > 0] == []


@pytest.mark.parametrize("build", [ranker, cnn])
def test_every_weight_has_a_part_in_the_score(build):
    network = build()
    network(random_inputs()).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.abs().max() > 0] == []


@pytest.mark.parametrize("build", [joint, ranker, cnn])
def test_words_that_pad_a_batch_change_nothing(build):
    network, inputs = build(), random_inputs(1)
    padded = changed(
        inputs,
        maps=torch.cat([inputs.maps, torch.rand(1, 2, BLOCKS, 4, 4)], 1),
        text=torch.cat([inputs.text, torch.rand(1, 2, TEXT)], 1),
        spelling=torch.cat([inputs.spelling, torch.rand(1, 2, SPELLING)], 1),
        present=torch.tensor([[True] * 3 + [False] * 2]),
    )
    torch.testing.assert_close(network(padded), network(inputs))


@pytest.mark.parametrize("build", [joint, ranker, cnn])
def test_rows_do_not_touch_each_other(build):
    network, both = build(), random_inputs(2)
    alone = Inputs(**{name: value[1:] for name, value in vars(both).items()})
    torch.testing.assert_close(network(both)[1:], network(alone))


@pytest.mark.parametrize("name", ["maps", "text", "spelling", "activation", "latent", "denoised", "percent"])
def test_the_joint_probe_reads_all_that_it_needs(name):
    network, inputs, other = joint(), random_inputs(1), random_inputs(1, seed=1)
    scores = network(changed(inputs, **{name: getattr(other, name)}))
    assert (scores - network(inputs)).abs().max() > 1e-5


@pytest.mark.parametrize("name", ["maps", "text", "spelling", "percent"])
def test_the_attention_cnn_reads_maps_words_and_noise_level(name):
    network, inputs, other = cnn(), random_inputs(1), random_inputs(1, seed=1)
    scores = network(changed(inputs, **{name: getattr(other, name)}))
    assert (scores - network(inputs)).abs().max() > 1e-5
    unseen = {name: getattr(other, name) for name in ("activation", "latent", "denoised")}
    assert torch.equal(network(changed(inputs, **unseen)), network(inputs))


@pytest.mark.parametrize("build", [joint, cnn])
def test_words_in_another_order_are_another_prompt(build):
    network, inputs = build(), random_inputs(1)
    turned = changed(inputs, **{name: getattr(inputs, name).flip(1) for name in ("maps", "text", "spelling")})
    assert (network(turned) - network(inputs)).abs().max() > 1e-4


@pytest.mark.parametrize("build", [joint, cnn])
def test_training_computes_attention_as_pytorch_does(build):
    network, inputs = build(), random_inputs(2)
    torch.testing.assert_close(network.train()(inputs), network.eval()(inputs))


def test_tokens_look_at_themselves_and_at_their_rows_cells_in_one_softmax():
    torch.manual_seed(0)
    layer, tokens, cells, bias = (
        AttentionLayer(16, 2),
        torch.rand(6, 3, 16),
        torch.rand(2, 5, 16),
        torch.rand(6, 2, 3, 5),
    )
    present = torch.tensor([[True, True, False]] * 3 + [[True, False, True]] * 3)
    layer.out = torch.nn.Identity()
    torch.nn.init.zeros_(layer.down.weight)
    torch.nn.init.zeros_(layer.down.bias)  # what is left is what attention gave
    mixed = layer(tokens, torch.zeros(6, CONDITION), present, cells, bias) - tokens
    normal = [F.layer_norm(each, (16,)) for each in (tokens, cells)]
    for item in range(6):
        seen = torch.cat([normal[0][item], normal[1][item // 3]])
        key, value = layer.keys(seen).chunk(2, -1)
        logits = (layer.query(normal[0][item]).view(3, 2, 8).transpose(0, 1) / 8**0.5) @ key.view(8, 2, 8).permute(
            1, 2, 0
        )
        logits[:, :, 3:] += bias[item]
        logits[:, :, :3][:, :, ~present[item]] = -torch.inf
        expected = (logits.softmax(-1) @ value.view(8, 2, 8).transpose(0, 1)).transpose(0, 1).flatten(1)
        torch.testing.assert_close(mixed[item], expected)


def test_the_finished_latent_has_the_shape_of_the_prediction_at_odd_sizes():
    inputs = random_inputs(1, side=(7, 5), grid=(4, 3))
    assert joint().encode_image(inputs)[1].shape == inputs.denoised.shape


def test_an_untrained_head_predicts_the_x0_prediction_itself():
    network, inputs = joint(), random_inputs(2)
    torch.nn.init.zeros_(network.final.weight)
    torch.nn.init.zeros_(network.final.bias)
    torch.testing.assert_close(network.encode_image(inputs)[1], network.denoised_norm(inputs.denoised))


def test_places_differ_between_all_cells_of_a_wide_grid():
    cells = cell_positions(4, 9).flatten(1).T
    assert (torch.cdist(cells, cells) + torch.eye(36) > 1e-2).all()


def test_the_same_word_is_spelled_the_same_and_another_differs_in_half_of_the_signs():
    above, again, below = spelled(["above", "Above (2)", "below"])
    assert torch.equal(above, again) and above.abs().eq(1).all()
    assert 16 < (above != below).sum() < 48


@pytest.mark.parametrize("build", [joint, cnn])
def test_spelling_may_be_left_out(build):
    network, inputs, other = build(spelling=0), random_inputs(1), random_inputs(1, seed=1)
    assert torch.equal(network(changed(inputs, spelling=other.spelling)), network(inputs))


def test_a_cnn_without_embeddings_reads_prompts_of_any_text_encoder():
    torch.manual_seed(0)
    network, inputs = AttentionCNN(BLOCKS, text=0, widths=(8,), layers=1), random_inputs(1)
    assert torch.equal(network(changed(inputs, text=torch.rand(1, 3, 2 * TEXT))), network(inputs))


def test_embeddings_of_another_size_are_an_error_and_are_not_cut():
    with pytest.raises(RuntimeError):
        cnn()(changed(random_inputs(1), text=torch.rand(1, 3, 2 * TEXT)))


def test_the_centre_of_a_map_is_where_its_mass_lies():
    maps = torch.zeros(3, 4, 8)
    maps[0, 0, 0], maps[1, :, 7], maps[2] = 5.0, 1.0, 0.5
    expected = torch.tensor([[-1.5 / 4, -3.5 / 4], [0.0, 3.5 / 4], [0.0, 0.0]])
    torch.testing.assert_close(centres(maps), expected)
    assert torch.equal(centres(torch.zeros(1, 4, 8)), torch.zeros(1, 2))


def test_words_know_the_places_of_those_before_and_of_those_behind_apart():
    apart = RelativePositions(width=4, positions=1, heads=2)
    for linear, weight in ((apart.look, 0.0), (apart.meant, 0.0)):
        torch.nn.init.constant_(linear.weight, weight)
    torch.nn.init.zeros_(apart.look.bias)
    torch.nn.init.ones_(apart.meant.bias)
    for linear in (apart.distance, apart.out):
        torch.nn.init.eye_(linear.weight)
    torch.nn.init.zeros_(apart.out.bias)
    places_, present = torch.tensor([[[1.0], [2.0], [6.0], [100.0]]]), torch.tensor([[True, True, True, False]])
    found = apart(torch.rand(1, 4, 4), places_, present)[0, :3, :3]
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0, 4.0], [2.0, 1.0, 6.0], [6.0, 1.5, 0.0]]))


def test_norms_make_what_they_were_fitted_to_zero_in_the_mean_and_one_wide():
    torch.manual_seed(0)
    values, norms = 0.01 * torch.randn(500, 4) + torch.arange(4), FeatureNorm(4)
    norms.fit(values)
    found = norms(values[None])[0]
    torch.testing.assert_close((found.mean(0), found.std(0)), (torch.zeros(4), torch.ones(4)), atol=1e-4, rtol=0)
    images = ChannelNorm(4)
    images.fit(values[:, :, None, None])
    torch.testing.assert_close(images(values[:, :, None, None])[..., 0, 0], found)


def test_cells_can_be_judged_by_several_prompts_as_if_each_were_the_rows_own():
    network, inputs, asked = joint(), random_inputs(2), random_inputs(6, words=5, seed=1)
    cells = network.encode_image(inputs)[0]
    asked = changed(asked, maps=None, percent=inputs.percent.repeat_interleave(3))
    words = network.encode_words(asked)
    alone = network.score_words(words, asked, cells=cells.repeat_interleave(3, 0))
    torch.testing.assert_close(network.score_words(words, asked, cells=cells), alone)
