"""What a step cache predicts, and when: checked against closed forms."""

import math
from uuid import uuid4

import numpy as np
import pytest
import torch
from diffusion_probe.engine.step_cache.config import INTERVALS, StepCacheConfig
from diffusion_probe.engine.step_cache.plan import Plan
from diffusion_probe.engine.step_cache.predict import PREDICTORS, Predictor, predict, turn, usable
from diffusion_probe.engine.step_cache.state import CacheRun
from scipy.optimize import brentq

SPACING = (4.0, 2.5, 1.0)  # of the anchors, newest first: not equal


def shifted(steps):
    """FLUX's schedule."""
    shift = math.exp(1.15)
    return [shift * t / (1 + (shift - 1) * t) for t in (1 - i / steps for i in range(steps + 1))]


SIGMAS = shifted(20)


def plan_of(config, sigmas=SIGMAS, flow=True):
    return Plan.of(sigmas, config, flow)


def anchors_of(curve):
    """Anchors of rows of one element each, from a function of u that gives a list of row values."""
    return [(u, torch.tensor(curve(u)).view(-1, 1, 1, 1)) for u in SPACING]


def value(anchors, u, name, trust=math.inf, **options):
    return predict(anchors, u, PREDICTORS[name], trust, **options)[0].flatten().tolist()


@pytest.mark.parametrize(("preset", "computed"), [("quality", 13), ("balanced", 10), ("fast", 9), ("fastest", 7)])
def test_the_presets_compute_so_many_of_twenty_steps(preset, computed):
    plan = plan_of(StepCacheConfig(interval=INTERVALS[preset]))
    assert 20 - len(plan.predicted) == computed
    assert not plan.predicted & {0, 1, 2, 3, 19}, "the first steps and the last one are computed"


@pytest.mark.parametrize(
    ("name", "curve"),
    [
        ("reuse", lambda u: [7.0, -2.0]),
        ("linear", lambda u: [2 * u + 1, 5 - u]),
        ("newton2", lambda u: [u * u - u + 3, 2 - 0.25 * u * u]),
    ],
)
def test_each_predictor_continues_its_own_curve_exactly_for_unequal_spacing(name, curve):
    assert value(anchors_of(curve), 5.2, name) == pytest.approx(curve(5.2), rel=1e-5)


def test_pade_equals_its_formula_worked_out_by_hand():
    anchors = [(4.0, torch.tensor([[1.0]])), (2.0, torch.tensor([[0.5]])), (1.0, torch.tensor([[0.4]]))]
    # f01 = 1/4, f12 = 1/10, c2 = 1/20, c1 = 7/20, q = -1/7; at x = 2: D = 5/7, d = 49/50
    assert value(anchors, 6.0, "pade11") == pytest.approx([1.98])
    # the chord is 1/2 long over the same horizon, so trust 1 halves the way
    assert value(anchors, 6.0, "pade11", trust=1.0) == pytest.approx([1.5])
    # a horizon at which 1 + q·x would be 1/7: the denominator stays at 1/2
    assert value(anchors, 10.0, "pade11") == pytest.approx([1 + 0.35 * 6 * 2])


@pytest.mark.parametrize("name", ["linear", "newton2", "pade11"])
def test_rows_are_predicted_alone_and_stay_within_the_bound(name):
    generator = torch.Generator().manual_seed(3)
    anchors = [(u, torch.randn((5, 2, 3, 3), generator=generator)) for u in SPACING]
    together, failed = predict(anchors, 5.0, PREDICTORS[name], trust=0.7)
    assert not failed.any()
    for row in range(5):
        alone, _ = predict([(u, v[row : row + 1]) for u, v in anchors], 5.0, PREDICTORS[name], trust=0.7)
        assert torch.equal(alone[0], together[row])
    (u0, a), (u1, b), _ = anchors
    moved, chord = ((t.flatten(1).norm(dim=1)) for t in (together - a, a - b))
    assert (moved <= 0.7 * chord * (5.0 - u0) / (u0 - u1) * 1.0001).all()


def test_damping_shrinks_the_step_and_beta_adds_a_share_of_the_last_change():
    anchors = anchors_of(lambda u: [2 * u + 1.0])  # A = 9, B = 6
    assert value(anchors, 5.0, "linear", damping=0.5) == pytest.approx([9 + 2 * math.exp(-0.5 * 3 / 15)])
    assert value(anchors, 5.0, "linear", beta=0.1) == pytest.approx([9 + 2 + 0.3])


def test_a_row_that_is_not_finite_is_reused_and_reported_and_others_not_touched():
    huge = 3e38
    anchors = anchors_of(lambda u: [u, huge if u > 3 else -huge])
    predicted, failed = predict(anchors, 5.0, PREDICTORS["linear"], trust=1.0)
    assert failed.tolist() == [False, True]
    assert predicted.flatten().tolist() == pytest.approx([5.0, huge])


def test_constant_values_are_continued_and_do_not_divide_by_nothing():
    for name in PREDICTORS:
        assert value(anchors_of(lambda u: [0.0, 4.0]), 6.0, name, trust=1.0, damping=1.0) == [0.0, 4.0]


@pytest.mark.parametrize(
    ("wanted", "known", "u", "used"),
    [
        ("pade11", 3, 7.0, "pade11"),
        ("pade11", 3, 7.1, "linear"),  # further ahead than the three anchors reach back
        ("pade11", 2, 4.5, "linear"),
        ("newton2", 1, 4.5, "reuse"),
        ("linear", 1, 4.5, "reuse"),
        ("linear", 3, 9.0, "linear"),
        ("reuse", 3, 9.0, "reuse"),
    ],
)
def test_what_a_predictor_falls_back_to(wanted, known, u, used):
    assert usable(PREDICTORS[wanted], anchors_of(lambda u: [u])[:known], u).name == used


def test_the_trajectory_indicator_is_half_the_distance_of_the_directions():
    def path(*points):
        return [(float(-i), torch.tensor([p], dtype=torch.float32)) for i, p in enumerate(points)]

    assert turn(path([3, 0], [1, 0], [0, 0])).item() == pytest.approx(0)  # straight on
    assert turn(path([0, 0], [1, 0], [0, 0])).item() == pytest.approx(1)  # back
    assert turn(path([1, 2], [1, 0], [0, 0])).item() == pytest.approx(math.sqrt(0.5))  # a right angle


def planned(config, sigmas=SIGMAS, flow=True):
    """Which steps of a one-evaluation-per-step run are predicted."""
    plan = plan_of(config, sigmas, flow)
    places = [plan.position(sigma) for sigma in sigmas[:-1]]
    return [round(u) for u in places if plan.may_predict(u)]


def computed(config, sigmas, flow):
    return sorted(set(range(len(sigmas) - 1)).difference(planned(config, sigmas, flow)))


def falling(steps):
    """A schedule of SDXL's range."""
    return [14.6 * (0.03 / 14.6) ** (i / (steps - 1)) for i in range(steps)] + [0.0]


def test_the_plan_of_each_preset_at_20_steps():
    flux = [computed(StepCacheConfig(interval=interval), SIGMAS, True) for interval in (2, 3, 4)]
    assert flux[0] == [0, 1, 2, 3, 4, 5, 7, 9, 11, 13, 15, 17, 19]
    assert flux[1] == [0, 1, 2, 3, 5, 7, 10, 13, 16, 19]
    assert flux[2] == [0, 1, 2, 3, 5, 8, 12, 16, 19]
    assert planned(StepCacheConfig(interval=3, start=0.5, end=0.8)) == [11, 13, 15]
    assert planned(StepCacheConfig(interval=4, start=0.0))[0] == 4  # the first three and one more are computed


@pytest.mark.parametrize("steps", [9, 12, 25, 28, 50])
@pytest.mark.parametrize("interval", [2, 3, 4, 7])
@pytest.mark.parametrize(("schedule", "flow"), [(shifted, True), (falling, False)])
def test_gaps_between_computed_steps_are_whole_steps_next_to_even_progress(schedule, flow, steps, interval):
    """Independent: even progress is found by solving for the noise level, not on the grid of steps."""
    sigmas = schedule(steps)
    known = computed(StepCacheConfig(interval=interval), sigmas, flow)
    start = max(3, round(0.15 * steps))
    assert known[: start + 1] == list(range(start + 1)) and known[-1] == steps - 1
    window = known[start:]
    assert len(window) - 1 == (steps - 1 - start) // interval + 1

    def progress(u):
        low = math.floor(u)
        noise = sigmas[low] + (u - low) * (sigmas[low + 1] - sigmas[low])
        signal = 1 - noise if flow else 1.0
        return math.log(signal / (signal + noise)) + 0.2 * math.log(signal / noise)

    goals = np.linspace(progress(start), progress(steps - 1), len(window))
    assert max(np.diff(window)) <= interval + 1
    even = [brentq(lambda u, goal=goal: progress(u) - goal, start - 0.5, steps - 0.5) for goal in goals]
    if max(np.diff(even)) <= interval + 1:
        assert all(
            gap == 1 or abs(gap - wanted) <= 1 for gap, wanted in zip(np.diff(window), np.diff(even), strict=True)
        )


def test_even_gaps_differ_by_no_more_than_a_step_and_leave_as_many_computed():
    for interval in (2, 3, 4, 7):
        known = computed(StepCacheConfig(interval=interval, even=True), SIGMAS, True)
        gaps = np.diff(known[3:])
        assert all(abs(step - 3 - 16 * place / len(gaps)) <= 0.5 for place, step in enumerate(known[3:]))
        assert max(gaps) - min(gaps) <= 1 and known[-1] == 19
        assert len(known) == len(computed(StepCacheConfig(interval=interval), SIGMAS, True))


def test_a_schedule_that_stands_still_or_ends_early_is_planned_too():
    flat = [*SIGMAS[:8], *[SIGMAS[8]] * 5, *SIGMAS[9:]]
    assert computed(StepCacheConfig(interval=3), flat, True)[-1] == len(flat) - 2
    assert computed(StepCacheConfig(interval=3), SIGMAS[:15], True)[-1] == 13


def test_both_evaluations_of_a_step_are_computed_or_both_predicted():
    plan = plan_of(StepCacheConfig(interval=2))
    assert [plan.may_predict(u) for u in (6.0, 6.5, 6.9995, 7.5, 8.0)] == [True, True, False, False, True]


def test_a_plan_that_a_search_looks_at_starts_there():
    config = StepCacheConfig(interval=3)
    plan, later = plan_of(config), plan_of(StepCacheConfig(interval=3, start=0.4))
    assert plan.computed_until(8) == later and plan.computed_until(0) == plan.computed_until(2) == plan
    assert plan.computed_until(8).computed_until(5) == later and plan.computed_until(19).predicted == frozenset()


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("interval", [2, 3, 4])
def test_runs_of_up_to_four_steps_are_computed_whole(steps, interval):
    sigmas = [1 - i / steps for i in range(steps + 1)]
    config = StepCacheConfig(interval=interval, start=0.0)
    assert planned(config, sigmas) == [] and Plan.of(sigmas, config).why_nothing


@pytest.mark.parametrize(
    ("sigmas", "config", "reason"),
    [
        (SIGMAS, StepCacheConfig(interval=1), "interval 1"),
        (SIGMAS, StepCacheConfig(interval=21), "longer than the run's 20 steps"),
        (SIGMAS, StepCacheConfig(start=0.94), "always computed"),
        (SIGMAS, StepCacheConfig(end=0.21), "always computed"),
        (SIGMAS[::-1], StepCacheConfig(), "goes up"),
    ],
)
def test_a_run_in_which_nothing_can_be_predicted_says_why(sigmas, config, reason):
    assert reason in Plan.of(sigmas, config).why_nothing


def test_positions_are_step_indices_on_the_schedule_and_between_them_off_it():
    plan = Plan.of([10.0, 4.0, 4.0, 1.0, 0.0], StepCacheConfig())  # a step twice
    assert [plan.position(s) for s in (20.0, 10.0, 7.0, 1.0, 0.5, 0.0)] == [0, 0, 0.5, 3, 3.5, 4]
    assert plan.position(4.0) in (1.0, 2.0)


def test_the_place_of_an_anchor_is_the_logarithm_of_signal_over_noise():
    """Independent: of x = s·image + n·noise, as each kind of model mixes them."""
    eps, flow = (Plan.of([0.8, 0.4, 0.0], StepCacheConfig(), flow) for flow in (False, True))
    for u, noise in ((0.0, 0.8), (0.5, 0.6), (1.0, 0.4)):
        assert eps.log_snr(u) == pytest.approx(math.log(1.0 / noise))
        assert flow.log_snr(u) == pytest.approx(math.log((1 - noise) / noise))
    whole = Plan.of([1.0, 0.5, 0.0], StepCacheConfig(), flow=True)
    assert math.isfinite(whole.log_snr(0.0)) and math.isfinite(whole.log_snr(2.0))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"interval": 0}, "interval 0"),
        ({"start": 0.8, "end": 0.5}, "start 0.8 and end 0.5"),
        ({"start": 0.5, "end": 0.5}, "before end"),
        ({"end": 1.5}, "between 0 and 1"),
        ({"predictor": "magic"}, "reuse, linear, newton2, pade11"),
        ({"early": "magic"}, "no predictor"),
        ({"space": "attention"}, "output, blocks"),
        ({"trust": -1.0}, "negative"),
    ],
)
def test_settings_that_no_run_could_follow_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        StepCacheConfig(**options)


# -- the state of a run ---------------------------------------------------------------------------------

LIKE = ((1, 1, 2, 2), torch.float32, torch.device("cpu"))


def log_snr(noise):
    return math.log((1 - noise) / noise)


class Evaluations:
    """Drives a CacheRun through evaluations of one conditioning entry whose value is the log of signal over noise."""

    def __init__(self, sigmas=SIGMAS, **config):
        self.run = CacheRun(StepCacheConfig(**config), plan_of(StepCacheConfig(**config), sigmas), rough=False)
        self.uuid = uuid4()

    def at(self, sigma, like=LIKE, probed=False):
        """The predicted value, or None if this evaluation was computed."""
        self.run.begin(sigma)
        keys = self.run.keys([self.uuid])
        predicted = None
        if self.run.skips(keys, like, probed):
            predicted = float(self.run.prediction(keys).mean())
        else:
            self.run.keep(keys, like, torch.full(like[0], self.run.plan.log_snr(self.run.u)))
        self.run.end()
        return predicted


def test_a_straight_path_is_predicted_exactly_and_counted():
    evaluations = Evaluations(interval=2)
    values = {step: evaluations.at(sigma) for step, sigma in enumerate(SIGMAS[:-1])}
    predicted = {step: value for step, value in values.items() if value is not None}
    assert predicted == pytest.approx({step: log_snr(SIGMAS[step]) for step in range(6, 19, 2)}, abs=1e-3)
    assert evaluations.run.summary() == "20 evaluations: 13 computed, 7 predicted; fallbacks: none"


def test_a_probed_evaluation_is_computed():
    evaluations = Evaluations(interval=2)
    for sigma in SIGMAS[:4]:
        evaluations.at(sigma)
    assert evaluations.at(SIGMAS[6], probed=True) is None
    assert "1 probed moment" in evaluations.run.summary()


def test_another_shape_and_a_rising_sigma_are_computed_and_start_anew():
    for change in ({"like": ((1, 1, 4, 4), *LIKE[1:])}, {"like": (LIKE[0], torch.float16, LIKE[2])}):
        evaluations = Evaluations(interval=2)
        for sigma in SIGMAS[:4]:
            evaluations.at(sigma)
        assert evaluations.at(SIGMAS[6], **change) is None
        assert "no anchors" in evaluations.run.summary()
    evaluations = Evaluations(interval=2)
    for sigma in SIGMAS[:9]:
        evaluations.at(sigma)
    assert evaluations.at(SIGMAS[6]) is None and len(evaluations.run.histories) == 1
    ((_, history),) = evaluations.run.histories.items()
    assert len(history.values) == 1


def test_repeated_and_almost_repeated_sigmas_keep_anchors_apart():
    evaluations = Evaluations(interval=2)
    for sigma in SIGMAS[:12]:  # as heun does: the end of a step, and the start of the next
        assert evaluations.at(sigma) is None or math.isfinite(evaluations.run.u)
        evaluations.at(sigma * (1 - 1e-6))
    (history,) = evaluations.run.histories.values()
    places = [u for u, _ in history.values]
    assert all(newer - older > 0.5 for newer, older in zip(places, places[1:]))


def test_a_second_call_for_an_entry_within_an_evaluation_has_anchors_of_its_own():
    run = CacheRun(StepCacheConfig(interval=2), plan_of(StepCacheConfig(interval=2)), rough=False)
    uuid, seen = uuid4(), []
    for sigma in SIGMAS[:7]:
        run.begin(sigma)
        for offset in (0.0, 100.0):  # as guidance nodes do: once plain, once perturbed
            keys = run.keys([uuid])
            if run.skips(keys, LIKE, captured=False):
                seen.append(float(run.prediction(keys).mean()))
            else:
                run.keep(keys, LIKE, torch.full(LIKE[0], run.plan.log_snr(run.u) + offset))
        run.end()
    assert seen == pytest.approx([log_snr(SIGMAS[6]), 100 + log_snr(SIGMAS[6])], abs=1e-3)


def test_an_entry_that_was_not_there_at_the_last_computed_evaluation_is_computed():
    run = CacheRun(StepCacheConfig(interval=2), plan_of(StepCacheConfig(interval=2)), rough=False)
    old, new = uuid4(), uuid4()
    for sigma in SIGMAS[:7]:
        run.begin(sigma)
        uuids = [old, new] if sigma == SIGMAS[6] else [old]
        keys = run.keys(uuids)
        skipped = run.skips(keys, LIKE, captured=False)
        if not skipped:
            run.keep(keys, LIKE, torch.zeros(len(keys), 1, 2, 2))
        run.end()
    assert not skipped


def test_the_veto_computes_an_evaluation_after_a_turn():
    for veto, computed in ((0.4, True), (None, False)):
        evaluations = Evaluations(interval=2, veto=veto)
        for number, sigma in enumerate(SIGMAS[:7]):
            evaluations.run.begin(sigma)
            keys = evaluations.run.keys([evaluations.uuid])
            skipped = evaluations.run.skips(keys, LIKE, captured=False)
            if not skipped:
                evaluations.run.keep(keys, LIKE, torch.full(LIKE[0], float(number % 2)))  # to and fro
            evaluations.run.end()
        assert skipped != computed


def test_a_predictor_of_ones_own_can_be_given():
    double = Predictor("double", 1, lambda anchors, x: anchors[0][1])
    assert StepCacheConfig(predictor=double).wanted(early=False) is double
    assert StepCacheConfig(predictor=double, early="reuse").wanted(early=True) is PREDICTORS["reuse"]
