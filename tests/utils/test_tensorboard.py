"""Event files as TensorBoard itself reads them."""

import numpy as np
import pytest

import flambeau as torch

pytest.importorskip("tensorboard")
from flambeau.utils.tensorboard import SummaryWriter  # noqa: E402
from flambeau.utils.tensorboard.writer import pr_curve  # noqa: E402


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0})
    events.Reload()
    return events


def test_everything_arrives(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 3))
    with SummaryWriter(tmp_path) as writer:
        for i in range(3):
            writer.add_scalar("loss", torch.tensor(1.0 / (i + 1)), i)
        writer.add_histogram("weights", torch.randn(100), 0)
        writer.add_image("picture", torch.rand(3, 4, 5), 0)
        writer.add_images("batch", torch.rand(3, 1, 4, 4), 0)
        writer.add_text("note", "hello **there**")
        writer.add_pr_curve("curve", torch.tensor([1, 0, 1, 0]), torch.tensor([0.9, 0.2, 0.6, 0.7]), 0)
        writer.add_graph(net, torch.zeros(1, 1, 8, 8))
        writer.add_embedding(torch.randn(4, 3), metadata=list("abcd"))
        writer.add_hparams({"lr": 0.1}, {"score": 0.5})
        writer.add_scalars("both", {"a": 1.0, "b": 2.0}, 0)
    events = read(tmp_path)
    assert [e.value for e in events.Scalars("loss")] == pytest.approx([1, 0.5, 1 / 3])
    assert [e.step for e in events.Scalars("loss")] == [0, 1, 2]
    assert events.Histograms("weights")[0].histogram_value.num == 100
    assert (events.Images("picture")[0].width, events.Images("picture")[0].height) == (5, 4)
    assert events.Images("batch")[0].width == 12
    assert {"note/text_summary", "curve"} <= set(events.Tags()["tensors"])
    names = [n.name for n in events.Graph().node]
    assert names[0] == "input" and "Sequential/3" in names
    wires = {n.name: list(n.input) for n in events.Graph().node}
    assert wires["Sequential/0"] == ["input"] and wires["Sequential/3"] == ["Sequential/2"]
    assert (tmp_path / "projector_config.pbtxt").exists()
    assert read(tmp_path / "both_a").Scalars("both")[0].value == 1


def test_pr_curve_counts():
    labels, scores = np.array([1, 0, 1, 0, 1]), np.array([0.9, 0.8, 0.4, 0.1, 0.95])
    tp, fp, tn, fn, precision, recall = pr_curve(labels, scores, 11)
    for i in range(11):
        above = (scores * 10).astype(int) >= i
        assert (tp[i], fp[i]) == ((above & (labels == 1)).sum(), (above & (labels == 0)).sum())
        assert tp[i] + fn[i] == 3 and fp[i] + tn[i] == 2
    assert precision[9] == 1 and recall[0] == 1


def test_bad_values(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        with pytest.raises(AssertionError):
            writer.add_scalar("x", torch.ones(2))
        with pytest.raises(ValueError):
            writer.add_histogram("x", torch.zeros(0))
        with pytest.raises(AssertionError):
            writer.add_image("x", torch.zeros(4, 4))
