"""Platt scaling, thresholds and the calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from diplophrase.bundle import PRECISIONS, Calibration, OperatingPoint
from diplophrase.figures import expected_calibration_error
from training import calibration
from training.calibration import Fitted, find_points


def sigmoid(values):
    return 1.0 / (1.0 + np.exp(-values))


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_a_known_scaling_is_recovered():
    logits = np.linspace(-4, 4, 401)[:, None]
    fitted = calibration.fit(logits, sigmoid(1.7 * logits - 0.6))
    assert fitted.calibrations[0].slope == pytest.approx(1.7, abs=1e-3)
    assert fitted.calibrations[0].intercept == pytest.approx(-0.6, abs=1e-3)


def test_each_frequent_label_gets_its_own_scaling():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (40_000, 2))
    slopes, intercepts = np.array([1.6, 0.5]), np.array([-1.0, 0.4])
    targets = random.random(logits.shape) < sigmoid(slopes * logits + intercepts)
    fitted = calibration.fit(logits, targets.astype(float))
    found = [(c.slope, c.intercept) for c in fitted.calibrations]
    assert found[0] == pytest.approx((1.6, -1.0), abs=0.08)
    assert found[1] == pytest.approx((0.5, 0.4), abs=0.08)
    assert expected_calibration_error(fitted.scores(logits), targets.astype(float)) < 0.01


def scalings_of(count: int) -> tuple[Calibration, Calibration, Calibration]:
    """Return scalings fitted on `count` texts: of two labels that differ, and the shared one."""
    logits = np.tile(np.linspace(-3, 3, count)[:, None], (1, 2))
    targets = sigmoid(np.array([0.8, 3.0]) * logits)
    both = calibration.fit(logits, targets).calibrations
    shared = calibration.fit(logits.reshape(-1, 1), targets.reshape(-1, 1)).calibrations[0]
    return both[0], both[1], shared


def test_few_texts_keep_a_label_near_the_shared_scaling_and_many_let_it_go():
    _, few, shared = scalings_of(8)
    _, many, _ = scalings_of(4000)
    assert shared.slope < few.slope < 3.0
    assert few.slope - shared.slope < 0.5 * (3.0 - shared.slope)
    assert many.slope == pytest.approx(3.0, abs=0.05)


def test_a_rare_label_that_is_always_right_does_not_become_certain():
    random = np.random.default_rng(1)
    logits = np.stack([random.normal(0, 2, 400), np.full(400, -3.0)], axis=1)
    targets = (random.random(logits.shape) < sigmoid(logits)).astype(float)
    targets[:, 1] = 0.0
    logits[:2, 1], targets[:2, 1] = 1.0, 1.0  # two positives, parted from all else
    frequent, rare = calibration.fit(logits, targets).calibrations
    assert frequent.slope == pytest.approx(1.0, abs=0.2)
    alone = calibration.fit(logits[:, 1:], targets[:, 1:]).calibrations[0]
    assert alone.slope > 6.0  # with no other label nothing holds it back
    assert rare.slope < 3.0


def test_a_label_without_any_positive_keeps_a_finite_scaling():
    logits = np.linspace(-3, 3, 200)[:, None] * np.ones((1, 2))
    targets = np.stack([(logits[:, 0] > 0).astype(float), np.zeros(200)], axis=1)
    fitted = calibration.fit(logits, targets)
    assert np.exp(-3.0) <= fitted.calibrations[1].slope <= np.exp(3.0)
    assert fitted.scores(logits)[:, 1].max() < 0.5


def test_scores_and_decisions_follow_the_scaling():
    fitted = Fitted(
        (Calibration(slope=2.0, intercept=0.0), Calibration(slope=1.0, intercept=-1.0)),
        np.array([0.5, 0.8]),
        tuple(
            tuple(OperatingPoint(precision=p, threshold=p * scale) for p in PRECISIONS)
            for scale in (1.0, 0.5)
        ),
    )
    logits = np.array([[0.0, 1.0], [np.log(3) / 2, 1.0 + np.log(4)], [-1000.0, 1000.0]])
    expected = np.array([[0.5, 0.5], [0.75, 0.8], [0.0, 1.0]])
    np.testing.assert_allclose(fitted.scores(logits), expected, atol=1e-12)
    assert fitted.decide(np.array([[0.0, 2.0], [-0.1, 2.5]])).tolist() == [
        [True, False],
        [False, True],
    ]
    # from 0.9 for the first label and 0.45 for the second
    asked = np.array([[1.0, 1.0], [1.2, 0.5]])  # scores 0.88 and 0.5, 0.92 and 0.38
    assert fitted.decide(asked, 0.9).tolist() == [[False, True], [True, False]]


def test_a_label_is_given_where_the_network_leans_to_it():
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (300, 2))
    targets = (random.random(logits.shape) < sigmoid(0.5 * logits + 1.0)).astype(float)
    fitted = calibration.fit(logits, targets)
    intercepts = np.array([c.intercept for c in fitted.calibrations])
    assert fitted.thresholds == pytest.approx(sigmoid(intercepts), abs=1e-6)
    assert (fitted.decide(logits) == (logits > 0)).all()


def threshold_at(precision: float, scores: list[float], right: list[int]) -> float:
    points = find_points(np.array(scores), np.array(right, dtype=float))
    return {point.precision: point.threshold for point in points}[precision]


def test_an_operating_point_is_the_lowest_score_that_keeps_the_precision():
    scores = [*[0.8] * 40, *[0.6] * 40, *[0.4] * 40]
    always = [1] * 80 + [0] * 40
    assert threshold_at(0.95, scores, always) == 0.6  # all right down to 0.6, then none
    assert threshold_at(0.6, scores, always) == 0.4
    mixed = [1] * 40 + [1, 0] * 20 + [0] * 40
    assert threshold_at(0.95, scores, mixed) == 0.8


def test_without_observations_a_score_of_the_precision_itself_serves():
    assert threshold_at(0.9, [0.2, 0.1], [0, 0]) == 0.9
    assert threshold_at(0.9, [0.99, 0.5], [0, 0]) == 0.9  # one failure proves little: scores do


def test_operating_points_keep_their_precision_on_new_texts():
    random = np.random.default_rng(3)
    logits = random.normal(-1, 2, (4000, 2))
    targets = (random.random(logits.shape) < sigmoid(logits)).astype(float)
    fitted = calibration.fit(logits[:2000], targets[:2000])
    given, truth = fitted.decide(logits[2000:], 0.9), targets[2000:]
    assert truth[given].mean() == pytest.approx(0.9, abs=0.04)
    assert given.sum() < fitted.decide(logits[2000:], 0.7).sum()


def test_calibration_error_of_a_hand_computed_case():
    # two bins: scores 0.1, 0.3 against a frequency of 1/2; 0.8, 1.0 against 1
    scores = np.array([[0.1, 0.8], [0.3, 1.0]])
    targets = np.array([[0.0, 1.0], [1.0, 1.0]])
    found = expected_calibration_error(scores, targets, bins=2)
    assert found == pytest.approx(0.5 * abs(0.2 - 0.5) + 0.5 * abs(0.9 - 1.0))


def test_calibration_error_weighs_bins_by_size():
    scores = column(0.05, 0.05, 0.05, 0.95)
    targets = column(0.0, 0.0, 0.0, 0.0)
    found = expected_calibration_error(scores, targets)
    assert found == pytest.approx(0.75 * 0.05 + 0.25 * 0.95)


def test_scores_that_come_true_have_no_calibration_error():
    scores = column(*[0.25] * 8, *[1.0] * 2)
    targets = column(*[1.0] * 2, *[0.0] * 6, *[1.0] * 2)
    assert expected_calibration_error(scores, targets) == 0.0


def test_a_scarce_label_is_given_from_a_half_on_where_the_network_leans_away_from_it():
    logits = np.tile(np.linspace(-4, 4, 401)[:, None], (1, 3))
    targets = sigmoid(logits + np.array([1.5, 1.5, -1.5]))
    plain = calibration.fit(logits, targets)
    fitted = calibration.fit(logits, targets, scarce=np.array([False, True, True]))
    assert plain.thresholds == pytest.approx(sigmoid(np.array([1.5, 1.5, -1.5])), abs=0.05)
    assert fitted.thresholds.tolist() == [plain.thresholds[0], 0.5, plain.thresholds[2]]
    assert fitted.calibrations == plain.calibrations
