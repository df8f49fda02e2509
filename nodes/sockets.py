"""Socket types, inputs and the fingerprint that several nodes share, each written once."""

from collections.abc import Sequence

from comfy_api.latest import io

from ..engine.capture.moments import AUTO
from ..engine.core.seed_list import LARGEST_SEED, MOST_SEEDS
from ..engine.selection.select import OFF, THRESHOLDS

Probe = io.Custom("DIFFUSION_PROBE")
"""The type of an ``engine.core.probe.Probe``."""

Scores = io.Custom("DIFFUSION_PROBE_SCORES")
"""The type of an ``engine.core.scores.Scores``."""

Reward = io.Custom("DIFFUSION_PROBE_REWARD")
"""The type of an ``engine.core.reward.Reward``."""

TrialsSocket = io.Custom("DIFFUSION_PROBE_TRIALS")
"""The type of an ``engine.seed_search.prompt_trials.Trials``."""

KEEP_ALL, USE_ANYWAY = "keep all", "use anyway"
"""The options for a score without measured skill: it drops no row, or decides like any other."""

DEVICES = ("auto", "cpu", "gpu")


class FileCombo(io.Combo.Input):
    """A choice among files, whose options may change after the schema was read.

    Its value is checked by the code that reads the file, which says where files belong.
    """


def never_the_same() -> float:
    """Return a fingerprint that differs from every other, so that ComfyUI runs the node again.

    It is a new NaN at each call: ComfyUI compares fingerprints inside of tuples, where one object equals itself.
    """
    return float("nan")


def attached_model_input(purpose: str) -> io.Model.Input:
    """Return the input for a model that a probe is attached to.

    Args:
        purpose: a verb that completes "The model to …".
    """
    return io.Model.Input(
        "model",
        tooltip=f"The model to {purpose}. Preview Reward takes any image model; other probes those listed in the help.",
    )


def scoring_probe_input() -> io.Input:
    """Return the input for a probe that scores the rows of a batch."""
    return Probe.Input("probe", tooltip="The probe: Attention Focus, Preview Reward, Load Probe or Combine Probes.")


def when_input(name: str, purpose: str, several: str = "") -> io.String.Input:
    """Return the input for the moments at which a probe captures.

    Args:
        name: id of the input.
        purpose: what happens at the moment, up to the colon.
        several: an example of several moments, if they are accepted.
    """
    return io.String.Input(
        name,
        default=AUTO,
        tooltip=f'{purpose}: "20%" of the noise range, "step 5"{several}, or "auto" (20 %; in short runs step 2).',
    )


def probed_latent_input() -> io.Latent.Input:
    """Return the input for the latent that the probed model sampled."""
    return io.Latent.Input("latent", tooltip="The latent from a sampler that ran the probed model, unchanged.")


def probed_model_input() -> io.Model.Input:
    """Return the input for the model whose probe captured the run of a latent."""
    return io.Model.Input("model", tooltip="The model from Attach Probe or Prune in Flight that sampled this latent.")


def moment_input() -> io.String.Input:
    """Return the input that chooses one of the captured moments."""
    return io.String.Input(
        "moment",
        default="",
        optional=True,
        advanced=True,
        placeholder="latest",
        tooltip='Which captured moment to use, for example "20%" or "step 5". Empty: the latest.',
    )


def first_seed_input(name: str) -> io.Int.Input:
    """Return the input for the first of consecutive seeds."""
    return io.Int.Input(
        name,
        default=0,
        min=0,
        max=LARGEST_SEED,
        control_after_generate=True,
        tooltip='The first seed; the others count up, and "increment" goes past them all. Not used if "seeds" has any.',
    )


def seed_count_input(name: str, purpose: str) -> io.Int.Input:
    """Return the input for the number of seeds."""
    return io.Int.Input(name, default=16, min=1, max=MOST_SEEDS, tooltip=f'{purpose} Not used if "seeds" has any.')


def seed_list_input(instead: str) -> io.String.Input:
    """Return the input for a list of seeds.

    Args:
        instead: the inputs that are used if the list is empty.
    """
    return io.String.Input(
        "seeds",
        default="",
        multiline=True,
        optional=True,
        placeholder="or a list of seeds: 7, 8, 42",
        tooltip=f"Your own seeds, separated by commas, spaces or line breaks. Empty: {instead}.",
    )


def row_limit_inputs() -> list[io.Input]:
    """Return the inputs that say which rows of a scored batch are kept."""
    return [
        io.Int.Input("top_k", default=4, min=0, max=MOST_SEEDS, tooltip="Keep at most this many rows. 0: no limit."),
        *threshold_inputs(
            THRESHOLDS,
            OFF,
            "What the threshold is compared with: the score, or its percentile in this batch (best 100, worst 0).",
            'Rows below it are dropped. Not used if "threshold on" is "off".',
        ),
        use_anyway_input(KEEP_ALL, "drops nothing"),
    ]


def threshold_inputs(options: Sequence[str], default: str, compared: str, effect: str) -> list[io.Input]:
    """Return the inputs for a threshold and for what it is compared with.

    Args:
        options: what it can be compared with.
        default: one of them.
        compared: what the options mean.
        effect: what the threshold does.
    """
    return [
        io.Combo.Input("threshold_on", options=list(options), default=default, tooltip=compared),
        io.Float.Input("threshold", default=0.5, min=-1e6, max=1e6, step=0.01, round=False, tooltip=effect),
    ]


def use_anyway_input(otherwise: str, effect: str, optional: bool = False) -> io.Combo.Input:
    """Return the input that says whether a score without measured skill may decide.

    Args:
        otherwise: the option, and default, by which it may not.
        effect: a clause that says what such a score does then.
        optional: whether workflows saved before the input existed lack it.
    """
    return io.Combo.Input(
        "unskilled_scores",
        options=[otherwise, USE_ANYWAY],
        default=otherwise,
        optional=optional,
        advanced=True,
        tooltip=f'A score not shown to beat full images at equal cost {effect}, unless this is "{USE_ANYWAY}".',
    )


def hold_inputs() -> list[io.Input]:
    """Return the inputs that let a node wait for the user's choice on its board.

    They come after all others, so that workflows saved before they existed still load.
    """
    return [
        io.Boolean.Input(
            "hold_for_me",
            default=False,
            optional=True,
            tooltip="Wait before the last decision for your picks and discards, if someone has the board open.",
        ),
        io.Int.Input(
            "hold_seconds",
            default=300,
            min=1,
            max=86400,
            optional=True,
            advanced=True,
            tooltip="How long to wait at most. Then the run continues with what is chosen by then.",
        ),
    ]


def prompt_input(tooltip: str) -> io.String.Input:
    """Return the input for the text that images are scored by; it may be empty for rewards that read none."""
    return io.String.Input("prompt", default="", multiline=True, dynamic_prompts=False, tooltip=tooltip)


def dataset_input() -> io.String.Input:
    """Return the input for the name of a recorded dataset that is read."""
    return io.String.Input(
        "dataset",
        default="my-model",
        tooltip="Name of a folder in output/probe_data that Record Probe Data wrote. "
        '"testbed/flux" comes with the pack.',
    )


def number_seed_input(purpose: str) -> io.Int.Input:
    """Return the input for the seed of random numbers that make no images."""
    return io.Int.Input("seed", default=0, min=0, max=2**31 - 1, advanced=True, tooltip=purpose)


def device_input() -> io.Combo.Input:
    """Return the input for the device that a training or an evaluation computes on."""
    return io.Combo.Input(
        "device",
        options=list(DEVICES),
        advanced=True,
        tooltip='Where to compute. "auto": the GPU if ComfyUI uses one; its models are unloaded first.',
    )
