from pathlib import Path

import hydra
import pytest
import torch
import visionlab.conf
from hydra.core.global_hydra import GlobalHydra
from torch.nn import functional

from visionlab.errors import ConfigError
from visionlab.training.losses import Focal, NegativeLogLikelihood, WeightedCrossEntropy
from visionlab.training.supply import supply

CONF = Path(next(iter(visionlab.conf.__path__)))
NAMES = sorted(path.stem for path in (CONF / "loss").glob("[!_]*.yaml"))
LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0, 1])
COUNTS = torch.tensor([10, 20, 70])


def build(name, *overrides):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose(overrides=[f"+loss={name}", *overrides])
    return supply(hydra.utils.instantiate(config.loss), num_classes=3, class_counts=COUNTS)


@pytest.mark.parametrize("name", NAMES)
def test_sure_labels_give_the_same_loss_in_both_forms_and_a_gradient(name):
    logits = LOGITS.clone().requires_grad_()
    loss = build(name)
    value = loss(logits, LABELS)
    assert value.shape == () and value > 0
    assert torch.allclose(value, loss(logits, functional.one_hot(LABELS, 3).float()), atol=1e-6)
    value.backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_mixed_labels_lie_between_those_they_are_mixed_of(name):
    loss, logits = build(name), LOGITS[:1]
    first, second = (torch.eye(3)[[k]] for k in (0, 1))
    ends = sorted(float(loss(logits, label)) for label in (first, second))
    assert ends[0] < float(loss(logits, 0.7 * first + 0.3 * second)) < ends[1]


def test_smoothing_comes_from_the_config():
    expected = functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.2)
    assert torch.equal(build("cross_entropy", "loss.label_smoothing=0.2")(LOGITS, LABELS), expected)


def test_weights_are_the_balanced_ones_of_scikit_learn():
    weight = torch.tensor([100 / (3 * 10), 100 / (3 * 20), 100 / (3 * 70)])
    loss = WeightedCrossEntropy(class_counts=COUNTS)
    assert torch.allclose(loss.weight, weight)
    assert torch.allclose(loss(LOGITS, LABELS), functional.cross_entropy(LOGITS, LABELS, weight))


def test_weighted_loss_with_smoothing_is_the_same_for_both_forms_of_labels():
    loss = WeightedCrossEntropy(class_counts=COUNTS, label_smoothing=0.1)
    assert torch.allclose(loss(LOGITS, LABELS), loss(LOGITS, torch.eye(3)[LABELS]), atol=1e-6)
    assert torch.allclose(
        loss(LOGITS, LABELS), functional.cross_entropy(LOGITS, LABELS, loss.weight, label_smoothing=0.1)
    )


def test_a_class_without_images_has_a_finite_weight_and_no_place_in_checkpoints():
    loss = WeightedCrossEntropy(class_counts=torch.tensor([0, 4]))
    assert loss.weight.isfinite().all()
    assert loss.state_dict() == {}


def test_class_weights_of_ones_own():
    weights = [0.5, 3, *[1] * (LOGITS.shape[1] - 2)]
    loss = build("weighted_cross_entropy", f"+loss.weights={weights}".replace(" ", ""))
    assert torch.allclose(loss(LOGITS, LABELS), functional.cross_entropy(LOGITS, LABELS, torch.tensor(weights)))


def test_a_batch_of_classes_without_weight_has_a_loss_of_zero():
    logits = LOGITS.clone().requires_grad_()
    loss = WeightedCrossEntropy(class_counts=COUNTS, weights=[0, 1, 1])(logits, torch.zeros_like(LABELS))
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize("weights", [[1], [1, -1, 1], [0, 0, 0], [1, 1, "a"], [1, 1, float("inf")], 3])
def test_class_weights_that_are_not_possible(weights):
    with pytest.raises(ConfigError, match="is no weight for each of 3 classes"):
        WeightedCrossEntropy(class_counts=torch.tensor([1, 2, 3]), weights=weights)


def test_nll_is_cross_entropy():
    assert torch.allclose(NegativeLogLikelihood()(LOGITS, LABELS), functional.cross_entropy(LOGITS, LABELS))


def test_focal_is_the_formula_of_the_paper():
    probability = LOGITS.softmax(1)[torch.arange(6), LABELS]
    expected = (-((1 - probability) ** 2) * probability.log()).mean()
    assert torch.allclose(Focal(gamma=2.0)(LOGITS, LABELS), expected)
    assert torch.allclose(Focal(gamma=0.0)(LOGITS, LABELS), functional.cross_entropy(LOGITS, LABELS))


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_logits_are_no_problem(name):
    assert build(name)(LOGITS.bfloat16(), torch.eye(3)[LABELS]).isfinite()
    assert build(name)(LOGITS.bfloat16(), LABELS).isfinite()


def test_class_weights_are_not_rounded_to_the_precision_of_the_logits():
    loss, halved = build("weighted_cross_entropy"), LOGITS.bfloat16()
    assert loss(halved, LABELS) == loss(halved.float(), LABELS)
    assert loss(halved, torch.eye(3)[LABELS]) == loss(halved.float(), torch.eye(3)[LABELS])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_a_slope_where_a_prediction_is_certain(gamma):
    """There p is 1 to the last digit, and the slope of 0 ** gamma infinite for a gamma below 1."""
    logits = torch.tensor([[20.0, 0, 0], [1, 0, 0]], requires_grad=True)
    Focal(gamma=gamma)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad.isfinite().all() and (logits.grad[1, 0] < 0) and logits.grad[0].abs().max() < 1e-3
