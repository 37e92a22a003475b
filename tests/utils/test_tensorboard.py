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
    assert [n.name for n in events.Graph().node][:2] == ["input", "Sequential/Conv2d[0]/weight"]
    wires = {n.name: list(n.input) for n in events.Graph().node}
    assert wires["Sequential/Conv2d[0]/convolution"] == ["input", "Sequential/Conv2d[0]/weight", "Sequential/Conv2d[0]/bias"]
    assert wires["Sequential/ReLU[1]/relu"] == ["Sequential/Conv2d[0]/convolution"]
    assert wires["output"] == ["Sequential/Linear[3]/addmm"]
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


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.drop = torch.nn.Embedding(5, 4), torch.nn.Dropout(0.5)
        self.layer = torch.nn.TransformerEncoderLayer(4, 2)

    def forward(self, i, x):
        y = torch.nn.functional.relu(self.words(i) + x)
        return self.drop(y + self.layer(y)), y.argmax()


def test_graphs_are_as_recorded():
    """Functions between layers, sums of branches, indices as input; and looking changes nothing."""
    from flambeau.utils.recorded import record
    from flambeau.utils.tensorboard.graph import graph_of

    net = Residual()
    net.layer.eval()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    i, x = torch.tensor([[1, 2]]), torch.ones(1, 2, 4)
    wires = {n.name: list(n.input) for n in graph_of(net, (i, x)).node}
    assert wires["Residual/Embedding[words]/embedding"] == ["Residual/Embedding[words]/weight", "input"]
    assert wires["Residual/add"] == ["Residual/Embedding[words]/embedding", "input1"]
    assert wires["Residual/relu"] == ["Residual/add"]
    assert wires["Residual/add_1"][0] == "Residual/relu" and wires["Residual/add_1"][1].startswith("Residual/TransformerEncoderLayer[layer]/")
    assert any(n.startswith("Residual/TransformerEncoderLayer[layer]/MultiheadAttention[self_attn]/softmax") for n in wires)
    assert wires["output"] == ["Residual/add_1"] and wires["output1"] == []
    assert all(source in wires for sources in wires.values() for source in sources)
    assert net.training and not net.layer.training and torch.equal(state, torch.get_rng_state())
    shapes = {s.name: s.shape for s in record(net, (i, x))[0] if s.scope is None}
    assert shapes["input"] == (1, 2) and shapes["output"] == (1, 2, 4)


def test_rarer_things_arrive(tmp_path):
    with SummaryWriter(tmp_path, purge_step=3) as writer:
        writer.add_audio("sound", torch.sin(torch.arange(800) / 9), 0, sample_rate=8000)
        writer.add_video("film", torch.rand(2, 3, 1, 8, 8), 0)
        writer.add_image_with_boxes("boxes", torch.zeros(3, 20, 20), torch.tensor([[2.0, 3.0, 10.0, 12.0]]), 0, labels=["a"])
        writer.add_mesh("mesh", torch.rand(1, 4, 3), colors=torch.randint(0, 255, (1, 4, 3)), faces=torch.tensor([[[0, 1, 2]]]))
        writer.add_tensor("tensor", torch.arange(6.0).reshape(2, 3))
        writer.add_scalar("exact", 1 / 3, 0, double_precision=True)
        writer.add_scalar("new", 0.5, 0, new_style=True)
        writer.add_histogram_raw("raw", 0, 2, 3, 3, 5, [1, 2], [1, 2], 0)
        writer.add_custom_scalars_multilinechart(["a", "b"], "c", "two")
        writer.add_custom_scalars({"d": {"band": ["Margin", ["a", "b", "c"]]}})
        writer.add_pr_curve_raw("curve", [1, 1], [1, 0], [0, 1], [0, 0], [0.5, 1.0], [1.0, 1.0], 0, num_thresholds=2)
        writer.add_embedding(torch.randn(5, 3), metadata=list("abcde"), label_img=torch.rand(5, 3, 4, 6))
        writer.add_hparams({"lr": 0.1, "opt": "a", "on": True}, {"score": torch.tensor(0.5)}, {"opt": ["a", "b"]}, run_name="h")
        writer.add_histogram("half", torch.ones(3, dtype=torch.bfloat16), 0)
    events = read(tmp_path)
    assert events.Audio("sound")[0].sample_rate == 8000
    assert (events.Images("film")[0].width, events.Images("film")[0].height) == (16, 8)
    assert events.Images("film")[0].encoded_image_string[:4] == b"GIF8"
    tensors = {t: events.Tensors(t)[0].tensor_proto for t in events.Tags()["tensors"]}
    assert {"mesh_VERTEX", "mesh_FACE", "mesh_COLOR", "tensor", "exact", "new", "curve", "custom_scalars__config__"} <= set(tensors)
    assert np.frombuffer(tensors["exact"].tensor_content)[0] == 1 / 3
    assert np.frombuffer(tensors["tensor"].tensor_content, np.float32).tolist() == [0, 1, 2, 3, 4, 5]
    assert events.Histograms("raw")[0].histogram_value.bucket == [1, 2]
    config = (tmp_path / "projector_config.pbtxt").read_text()
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    sprite = text_format.Parse(config, ProjectorConfig()).embeddings[0].sprite
    assert list(sprite.single_image_dim) == [6, 4] and (tmp_path / sprite.image_path).read_bytes()[:4] == b"\x89PNG"
    assert read(tmp_path / "h").Scalars("score")[0].value == 0.5
    for bad in (lambda w: w.add_hparams([], {}), lambda w: w.add_mesh("m", torch.ones(3)), lambda w: w.add_video("v", torch.ones(3))):
        with SummaryWriter(tmp_path / "bad") as writer, pytest.raises((TypeError, AssertionError)):
            bad(writer)
