import pytest
import torch

from visionlab.models.features import features, linear_probe, nearest_neighbours


@pytest.mark.parametrize(
    ("name", "size", "width"),
    [
        ("alexnet", 64, 4096),
        ("squeezenet1_1", 32, 512),
        ("resnet20", 32, 64),
        ("mlp", 32, 255),
        ("torchvision", 32, 512),
    ],
)
def test_features_are_what_the_last_layer_sees(build, name, size, width):
    network = build(name, image_size=size).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = features(network, images)
    assert found.shape == (2, width) and not found.requires_grad
    if name == "resnet20":
        assert torch.allclose(network.fc(found), network(images), atol=1e-6)
    assert all(not module._forward_pre_hooks for module in network.modules())


@pytest.fixture
def clusters():
    """Return features and labels of three classes that lie in different directions: 60 to learn from, 30 to test."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    found = torch.eye(3)[labels] * 4 + torch.randn(90, 3, generator=generator)
    return found[:60], labels[:60], found[60:], labels[60:]


@pytest.mark.parametrize("classify", [nearest_neighbours, linear_probe])
def test_clusters_are_told_apart(clusters, classify):
    train, labels, test, expected = clusters
    scores = classify(train, labels, test)
    assert scores.shape == (30, 3)
    assert (scores.argmax(1) == expected).float().mean() > 0.9
    assert torch.equal(scores, classify(train, labels, test))


def test_neighbours_vote_with_their_similarity():
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    labels = torch.tensor([0, 1, 1])
    near = torch.tensor([[5.0, 0.5]])  # long, but its direction is the first image's
    assert nearest_neighbours(train, labels, near, k=3).argmax() == 0  # two of three neighbours are class 1
    assert nearest_neighbours(train, labels, near, k=3, temperature=100.0).argmax() == 1  # equal votes


def test_neighbours_do_not_depend_on_the_chunk(clusters):
    train, labels, test, _ = clusters
    whole = nearest_neighbours(train, labels, test)
    assert torch.allclose(whole, nearest_neighbours(train, labels, test, chunk=7), atol=1e-6)
    assert torch.allclose(whole.sum(1), torch.ones(30))


def test_linear_probe_does_not_care_for_the_scale_of_features(clusters):
    train, labels, test, _ = clusters
    scaled = linear_probe(train * 1000 + 5, labels, test * 1000 + 5)
    assert torch.equal(scaled.argmax(1), linear_probe(train, labels, test).argmax(1))


def test_the_linear_probe_is_the_regularised_regression_of_scikit_learn(clusters):
    from sklearn.linear_model import LogisticRegression

    train, labels, test, _ = clusters
    inputs = (train - train.mean(0)) / train.std(0)
    for weight_decay in (1e-3, 0.3):
        theirs = LogisticRegression(C=1 / (weight_decay * len(train)), tol=1e-8, max_iter=1000)
        theirs.fit(inputs.numpy(), labels.numpy())
        expected = theirs.predict_proba(((test - train.mean(0)) / train.std(0)).numpy())
        found = linear_probe(train, labels, test, weight_decay=weight_decay).softmax(1)
        torch.testing.assert_close(found, torch.from_numpy(expected).float(), atol=5e-3, rtol=0)
