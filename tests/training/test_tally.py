"""The sums of an epoch against scikit-learn, batch by batch, padding and all."""

import pytest
import torch
from sklearn import metrics

from visionlab.training.losses import WeightedCrossEntropy
from visionlab.training.tally import Tally


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(103, 7, generator=generator)
    labels = torch.randint(0, 6, (103,), generator=generator)  # class 6 has no image
    return logits, labels


def test_figures_agree_with_scikit_learn_also_when_the_last_batch_is_smaller(predictions):
    logits, labels = predictions
    tally = Tally(7, k=5)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    for part in torch.arange(103).split(25):
        tally.update(losses[part].mean(), logits[part], labels[part])
    found = tally.compute()
    guess = logits.argmax(1)
    assert found["acc"].item() == pytest.approx(metrics.accuracy_score(labels, guess))
    assert found["f1"].item() == pytest.approx(metrics.f1_score(labels, guess, average="macro", zero_division=0))
    assert found["balanced_acc"].item() == pytest.approx(
        metrics.recall_score(labels, guess, average="macro", labels=range(6), zero_division=0)
    )
    assert found["top5"].item() == pytest.approx(metrics.top_k_accuracy_score(labels, logits, k=5, labels=range(7)))
    assert found["loss"].item() == pytest.approx(losses.mean().item(), rel=1e-6)
    assert tally.matrix().tolist() == metrics.confusion_matrix(labels, guess, labels=range(7)).tolist()


def test_a_class_that_is_neither_true_nor_predicted_takes_no_part_in_f1():
    labels, guess = torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0, 2, 2, 2, 0])
    tally = Tally(4)
    tally.update(torch.tensor(1.0), torch.eye(4)[guess], labels)
    assert tally.compute()["f1"].item() == pytest.approx(metrics.f1_score(labels, guess, average="macro"))


def test_of_mixed_labels_the_largest_share_counts():
    tally = Tally(3)
    tally.update(torch.tensor(1.0), torch.eye(3), torch.tensor([[0.6, 0.4, 0], [0.7, 0.3, 0], [0, 0.1, 0.9]]))
    assert tally.matrix().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("weight", [None, torch.arange(1.0, 8)])
def test_padding_counts_nowhere(predictions, weight):
    logits, labels = predictions
    plain, padded = (Tally(7, k=5, class_weight=weight) for _ in range(2))
    loss = torch.nn.functional.cross_entropy(logits, labels)
    plain.update(loss, logits, labels)
    padded.update(loss, torch.cat([logits, logits[:9]]), torch.cat([labels, torch.full((9,), -1)]))
    assert {k: v.item() for k, v in plain.compute().items()} == {k: v.item() for k, v in padded.compute().items()}


@pytest.mark.parametrize("order", ["mixed", "by class"])
def test_a_weighted_loss_does_not_depend_on_which_images_share_a_batch(predictions, order):
    """Evaluation goes class by class: in a batch of one class the weight of its mean cancels."""
    logits, labels = predictions
    loss = WeightedCrossEntropy(class_counts=torch.bincount(labels, minlength=7) ** 2)
    tally = Tally(7, class_weight=loss.weight)
    rows = labels.argsort() if order == "by class" else torch.arange(103)
    for part in rows.split(5):
        tally.update(loss(logits[part], labels[part]), logits[part], labels[part])
    assert tally.compute()["loss"].item() == pytest.approx(loss(logits, labels).item(), rel=1e-5)
    assert "class_weight" not in tally.state_dict()


def test_sums_survive_a_checkpoint(predictions):
    logits, labels = predictions
    tally, other = Tally(7), Tally(7)
    tally.update(torch.tensor(1.0), logits, labels)
    other.load_state_dict(tally.state_dict())
    assert other.compute()["acc"] == tally.compute()["acc"] > 0
