"""Early stopping, folds, class weights, focal loss, diagnosis, pictures of networks."""

import pytest

import flambeau as torch
from flambeau.utils import draw, training


def test_early_stopping_keeps_the_best():
    net = torch.nn.Linear(1, 1, bias=False)
    stop = training.EarlyStopping(patience=2)
    answers = []
    for i, loss in enumerate((3.0, 2.0, 2.5, 1.0, 1.5, 1.2)):
        with torch.no_grad():
            net.weight.fill_(float(i))
        answers.append(stop(torch.tensor(loss), net))
    assert answers == [False] * 5 + [True]
    assert stop.best == 1.0 and stop.best_state["weight"].item() == 3.0
    with pytest.raises(ValueError):
        training.EarlyStopping(mode="up")


def test_folds_cover_everything_once():
    seen = []
    for train, valid in training.k_fold(11, 4):
        assert sorted(train + valid) == list(range(11))
        seen += valid
    assert sorted(seen) == list(range(11))
    with pytest.raises(ValueError):
        list(training.k_fold(3, 4))


def test_class_weights_and_focal_loss():
    labels = torch.tensor([0, 0, 0, 1])
    w = training.class_weights(labels, 3)
    assert w.tolist() == pytest.approx([4 / 9, 4 / 3, 0])
    logits = torch.randn(4, 3, requires_grad=True)
    plain = torch.nn.functional.cross_entropy(logits, labels)
    assert torch.allclose(training.FocalLoss(0.0)(logits, labels), plain)
    weighted = torch.nn.functional.cross_entropy(logits, labels, weight=w)
    assert torch.allclose(training.FocalLoss(0.0, w)(logits, labels), weighted)
    training.FocalLoss()(logits, labels).backward()
    assert training.FocalLoss(reduction="none")(logits, labels).shape == (4,)


def test_diagnosis():
    assert training.diagnose([1, 0.5, 0.2, 0.1], [1, 0.7, 0.8, 0.9]) == "overfitting"
    assert training.diagnose([1, 0.99, 0.98], [1, 1, 1]) == "underfitting"
    assert training.diagnose([1, 0.5, 0.2], [1, 0.6, 0.3]) == "still improving"
    assert training.diagnose([1, 0.5, 0.2, 0.19], [1, 0.6, 0.3, 0.3]) == "fine"
    with pytest.raises(ValueError):
        training.diagnose([1], [1])


def test_draw(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    svg = draw.draw(net, torch.zeros(5, 3), tmp_path / "net.svg")
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and "5x4" in svg and "Linear" in svg
    assert (tmp_path / "net.svg").read_text() == svg


def test_drawings_show_functions_and_branches():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.attend = torch.nn.Linear(4, 4), torch.nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            y = torch.nn.functional.relu(self.a(x))
            return x + self.attend(y, y, y)[0]

    from flambeau.utils.recorded import record

    boxes = draw.boxes_of(record(Net(), torch.ones(1, 3, 4))[0])
    assert [(b.title, b.kind) for b in boxes] == [
        ("input", ""), ("a", "Linear"), ("relu", "function"), ("attend", "MultiheadAttention"), ("add", "function"), ("output", "")
    ]  # fmt: skip
    assert [s.title for s in boxes[4].sources] == ["input", "attend"] and boxes[3].shape == (1, 3, 4)
