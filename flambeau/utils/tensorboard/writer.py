"""SummaryWriter: scalars, histograms, images, figures, text, PR curves, embeddings, hyperparameters and the graph."""

from __future__ import annotations

import io
import os
import socket
import time
from pathlib import Path

import numpy as np

from flambeau.tensor.tensor import Tensor


def _tensorboard():
    """The package's modules, or what to install."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as e:
        raise ImportError("SummaryWriter needs tensorboard: pip install 'flambeau[tensorboard]'") from e
    return event_pb2, summary_pb2, EventFileWriter


def array(x) -> np.ndarray:
    """Tensors, arrays and numbers as an array."""
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


def as_bytes(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1] (or already bytes) as uint8."""
    return image if image.dtype == np.uint8 else (np.clip(image, 0, 1) * 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    """(H, W, C) bytes as a PNG file."""
    try:
        from PIL import Image
    except ImportError as e:
        raise ImportError("images need Pillow: pip install 'flambeau[vision]'") from e
    out = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(out, "PNG")
    return out.getvalue()


def arranged(image: np.ndarray, formats: str) -> np.ndarray:
    """An image of the given dims ("CHW", "HW", ...) as (H, W, C)."""
    formats = formats.upper()
    if len(formats) != image.ndim:
        raise AssertionError(f"size of input tensor and input format are different. tensor shape: {image.shape}, input_format: {formats}")
    if "C" not in formats:
        image, formats = image[..., None], formats + "C"
    return image.transpose([formats.index(c) for c in "HWC"])


class SummaryWriter:
    """Writes event files that TensorBoard shows.

    Source:   torch.utils.tensorboard.SummaryWriter
    """

    def __init__(self, log_dir=None, comment="", purge_step=None, max_queue=10, flush_secs=120, filename_suffix=""):
        self._events, self._summary, writer = _tensorboard()
        if not log_dir:
            log_dir = os.path.join("runs", time.strftime("%b%d_%H-%M-%S") + f"_{socket.gethostname()}{comment}")
        self.log_dir = str(log_dir)
        self._make = lambda path: writer(path, max_queue, flush_secs, filename_suffix)
        self._writer = self._make(self.log_dir)
        self._others: dict = {}
        self._embeddings: list = []

    def get_logdir(self) -> str:
        """Where the event files are."""
        return self.log_dir

    def _add(self, values, step, walltime, writer=None) -> None:
        event = self._events.Event(wall_time=time.time() if walltime is None else walltime)
        event.summary.CopyFrom(self._summary.Summary(value=values))
        if step is not None:
            event.step = int(step)
        (writer or self._writer).add_event(event)

    def _value(self, tag: str, **fields):
        return self._summary.Summary.Value(tag=tag, **fields)

    def add_scalar(self, tag, scalar_value, global_step=None, walltime=None, new_style=False, double_precision=False):
        """One number of a curve."""
        value = array(scalar_value)
        if value.size != 1:
            raise AssertionError(f"scalar should be 0D, got shape {value.shape}")
        self._add([self._value(tag, simple_value=float(value.reshape(())))], global_step, walltime)

    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, walltime=None):
        """Several curves in one plot; each is a run of its own."""
        for tag, value in tag_scalar_dict.items():
            path = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{tag}")
            if path not in self._others:
                self._others[path] = self._make(path)
            self._add([self._value(main_tag, simple_value=float(array(value)))], global_step, walltime, self._others[path])

    def add_histogram(self, tag, values, global_step=None, bins="tensorflow", walltime=None, max_bins=None):
        """The distribution of values."""
        v = array(values).astype(np.float64).ravel()
        if v.size == 0:
            raise ValueError("The input has no element.")
        if bins == "tensorflow":
            edges = [1e-12]
            while edges[-1] < 1e20:
                edges.append(edges[-1] * 1.1)
            bins = np.array([-x for x in reversed(edges)] + [0.0] + edges)
        counts, limits = np.histogram(v, bins=bins)
        used = np.nonzero(counts)[0]
        first, last = used[0], used[-1]
        histogram = self._summary.HistogramProto(
            min=v.min(), max=v.max(), num=v.size, sum=v.sum(), sum_squares=v.dot(v),
            bucket_limit=limits[first : last + 2][1:].tolist(), bucket=counts[first : last + 1].tolist(),
        )  # fmt: skip
        self._add([self._value(tag, histo=histogram)], global_step, walltime)

    def _picture(self, tag: str, image: np.ndarray):
        h, w, c = image.shape
        made = self._summary.Summary.Image(height=h, width=w, colorspace=c, encoded_image_string=png(image))
        return self._value(tag, image=made)

    def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"):
        """An image."""
        self._add([self._picture(tag, as_bytes(arranged(array(img_tensor), dataformats)))], global_step, walltime)

    def add_images(self, tag, img_tensor, global_step=None, walltime=None, dataformats="NCHW"):
        """A batch of images, in a grid."""
        batch = array(img_tensor)
        formats = dataformats.upper()
        images = [arranged(batch.take(i, formats.index("N")), formats.replace("N", "")) for i in range(batch.shape[formats.index("N")])]
        columns = min(8, len(images))
        blank = np.zeros_like(images[0])
        images += [blank] * (-len(images) % columns)
        rows = [np.concatenate(images[i : i + columns], 1) for i in range(0, len(images), columns)]
        self._add([self._picture(tag, as_bytes(np.concatenate(rows, 0)))], global_step, walltime)

    def add_figure(self, tag, figure, global_step=None, close=True, walltime=None):
        """Matplotlib figures."""
        figures = figure if isinstance(figure, (list, tuple)) else [figure]
        for f in figures:
            f.canvas.draw()
            image = np.asarray(f.canvas.buffer_rgba())
            self._add([self._picture(tag, image)], global_step, walltime)
            if close:
                import matplotlib.pyplot as plt

                plt.close(f)

    def add_text(self, tag, text_string, global_step=None, walltime=None):
        """A text (Markdown)."""
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

        meta = self._summary.SummaryMetadata(plugin_data=self._summary.SummaryMetadata.PluginData(
            plugin_name="text", content=b"\x08\x00"))  # fmt: skip
        tensor = TensorProto(dtype="DT_STRING", string_val=[text_string.encode()],
                             tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]))  # fmt: skip
        self._add([self._value(tag + "/text_summary", metadata=meta, tensor=tensor)], global_step, walltime)

    def add_pr_curve(self, tag, labels, predictions, global_step=None, num_thresholds=127, weights=None, walltime=None):
        """Precision and recall of binary labels by probabilities, over all thresholds."""
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData

        data = pr_curve(array(labels), array(predictions), num_thresholds, None if weights is None else array(weights))
        content = PrCurvePluginData(version=0, num_thresholds=num_thresholds).SerializeToString()
        meta = self._summary.SummaryMetadata(plugin_data=self._summary.SummaryMetadata.PluginData(
            plugin_name="pr_curves", content=content))  # fmt: skip
        dims = [TensorShapeProto.Dim(size=n) for n in data.shape]
        tensor = TensorProto(dtype="DT_FLOAT", float_val=data.reshape(-1).tolist(), tensor_shape=TensorShapeProto(dim=dims))
        self._add([self._value(tag, metadata=meta, tensor=tensor)], global_step, walltime)

    def add_embedding(self, mat, metadata=None, label_img=None, global_step=None, tag="default", metadata_header=None):
        """Vectors for the projector, with labels."""
        folder = Path(self.log_dir) / f"{0 if global_step is None else global_step:05d}" / tag
        folder.mkdir(parents=True, exist_ok=True)
        np.savetxt(folder / "tensors.tsv", array(mat), delimiter="\t", fmt="%.8g")
        entry = [f'embeddings {{\n  tensor_name: "{tag}:{folder.parent.name}"\n  tensor_path: "{folder.parent.name}/{tag}/tensors.tsv"']
        if metadata is not None:
            rows = ["\t".join(map(str, r)) if isinstance(r, (list, tuple)) else str(r) for r in metadata]
            head = ["\t".join(metadata_header)] if metadata_header else []
            (folder / "metadata.tsv").write_text("\n".join(head + rows) + "\n")
            entry.append(f'  metadata_path: "{folder.parent.name}/{tag}/metadata.tsv"')
        self._embeddings.append("\n".join(entry) + "\n}\n")
        (Path(self.log_dir) / "projector_config.pbtxt").write_text("".join(self._embeddings))

    def add_hparams(self, hparam_dict, metric_dict, hparam_domain_discrete=None, run_name=None, global_step=None):
        """A run's hyperparameters and what came of them."""
        from tensorboard.plugins.hparams import summary_v2

        plain = {k: (v.item() if isinstance(v, Tensor) else v) for k, v in hparam_dict.items()}
        path = os.path.join(self.log_dir, run_name or str(time.time()))
        writer = self._make(path)
        event = self._events.Event(wall_time=time.time())
        event.summary.CopyFrom(summary_v2.hparams_pb(plain))
        writer.add_event(event)
        for name, value in metric_dict.items():
            self._add([self._value(name, simple_value=float(value))], global_step, None, writer)
        writer.close()

    def add_graph(self, model, input_to_model=None, verbose=False, use_strict_trace=True):
        """The network as its modules call each other for an input."""
        from flambeau.utils.tensorboard.graph import graph_of

        graph = graph_of(model, input_to_model)
        self._writer.add_event(self._events.Event(wall_time=time.time(), graph_def=graph.SerializeToString()))

    def flush(self) -> None:
        """Everything so far into the files."""
        for w in (self._writer, *self._others.values()):
            w.flush()

    def close(self) -> None:
        """No more events."""
        for w in (self._writer, *self._others.values()):
            w.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def pr_curve(labels, predictions, count: int, weights=None) -> np.ndarray:
    """Rows tp, fp, tn, fn, precision, recall at `count` thresholds from 0 to 1."""
    w = np.ones(labels.shape) if weights is None else weights
    truth = labels.astype(bool).ravel()
    bins = np.clip((predictions.ravel() * (count - 1)).astype(int), 0, count - 1)
    tp = np.bincount(bins, w.ravel() * truth, count)[::-1].cumsum()[::-1]
    fp = np.bincount(bins, w.ravel() * ~truth, count)[::-1].cumsum()[::-1]
    tn, fn = fp[0] - fp, tp[0] - tp
    tiny = 1e-7
    return np.stack([tp, fp, tn, fn, tp / np.maximum(tiny, tp + fp), tp / np.maximum(tiny, tp + fn)])


__all__ = ["SummaryWriter", "pr_curve"]
