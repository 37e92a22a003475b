"""SummaryWriter: scalars, histograms, images, figures, text, PR curves, embeddings, hyperparameters and the graph."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import numpy as np

from flambeau.tensor.tensor import Tensor
from flambeau.utils.tensorboard.extras import Extras, shape_of, tensor_of
from flambeau.utils.tensorboard.values import arranged, array, as_bytes, png


def _tensorboard():
    """The package's modules, or what to install."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as e:
        raise ImportError("SummaryWriter needs tensorboard: pip install 'flambeau[tensorboard]'") from e
    return event_pb2, summary_pb2, EventFileWriter


class SummaryWriter(Extras):
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
        if purge_step is not None:  # TensorBoard forgets what an earlier, interrupted run wrote from this step on
            started = self._events.SessionLog(status=self._events.SessionLog.START)
            self._writer.add_event(self._events.Event(step=purge_step, file_version="brain.Event:2"))
            self._writer.add_event(self._events.Event(step=purge_step, session_log=started))
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

    def _metadata(self, plugin: str, content: bytes = b""):
        data = self._summary.SummaryMetadata.PluginData(plugin_name=plugin, content=content)
        return self._summary.SummaryMetadata(plugin_data=data)

    def add_scalar(self, tag, scalar_value, global_step=None, walltime=None, new_style=False, double_precision=False):
        """One number of a curve."""
        value = array(scalar_value)
        if value.size != 1:
            raise AssertionError(f"scalar should be 0D, got shape {value.shape}")
        if new_style or double_precision:
            kind = np.float64 if double_precision else np.float32
            number = tensor_of(value.astype(kind).reshape(()), "DT_DOUBLE" if double_precision else "DT_FLOAT")
            made = self._value(tag, metadata=self._metadata("scalars"), tensor=number)
        else:
            made = self._value(tag, simple_value=float(value.reshape(())))
        self._add([made], global_step, walltime)

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
        meta = self._metadata("text", b"\x08\x00")
        text = tensor_of([text_string.encode()], "DT_STRING")
        text.tensor_shape.CopyFrom(shape_of([1]))
        self._add([self._value(tag + "/text_summary", metadata=meta, tensor=text)], global_step, walltime)

    def add_pr_curve(self, tag, labels, predictions, global_step=None, num_thresholds=127, weights=None, walltime=None):
        """Precision and recall of binary labels by probabilities, over all thresholds."""
        data = pr_curve(array(labels), array(predictions), num_thresholds, None if weights is None else array(weights))
        self.add_pr_curve_raw(tag, *data, global_step, num_thresholds, None, walltime)

    def add_pr_curve_raw(self, tag, true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts,
                         precision, recall, global_step=None, num_thresholds=127, weights=None, walltime=None):  # fmt: skip
        """A curve whose counts at every threshold are known."""
        from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData

        rows = (true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts, precision, recall)
        data = np.stack([array(row).astype(np.float32) for row in rows])
        content = PrCurvePluginData(version=0, num_thresholds=num_thresholds).SerializeToString()
        self._add([self._value(tag, metadata=self._metadata("pr_curves", content), tensor=tensor_of(data))], global_step, walltime)

    def add_embedding(self, mat, metadata=None, label_img=None, global_step=None, tag="default", metadata_header=None):
        """Vectors for the projector, with labels."""
        vectors = array(mat)
        if vectors.ndim != 2:
            raise AssertionError("mat should be 2D, where mat.size(0) is the number of data points")
        where = f"{0 if global_step is None else global_step:05d}/{tag}"
        folder = Path(self.log_dir) / where
        folder.mkdir(parents=True, exist_ok=True)
        np.savetxt(folder / "tensors.tsv", vectors, delimiter="\t", fmt="%.8g")
        lines = [f'tensor_name: "{tag}:{where[:5]}"', f'tensor_path: "{where}/tensors.tsv"']
        if metadata is not None:
            if len(metadata) != len(vectors):
                raise AssertionError("#labels should equal with #data points")
            rows = ["\t".join(map(str, r)) if isinstance(r, (list, tuple)) else str(r) for r in metadata]
            head = ["\t".join(metadata_header)] if metadata_header else []
            (folder / "metadata.tsv").write_text("\n".join(head + rows) + "\n", encoding="utf-8")
            lines.append(f'metadata_path: "{where}/metadata.tsv"')
        if label_img is not None:
            if len(label_img) != len(vectors):
                raise AssertionError("#images should equal with #data points")
            sprite, (height, width) = sprites(array(label_img))
            (folder / "sprite.png").write_bytes(png(sprite))
            lines.append(f'sprite {{\n    image_path: "{where}/sprite.png"\n    single_image_dim: {width}\n    single_image_dim: {height}\n  }}')
        self._embeddings.append("embeddings {\n  " + "\n  ".join(lines) + "\n}\n")
        (Path(self.log_dir) / "projector_config.pbtxt").write_text("".join(self._embeddings), encoding="utf-8")

    def add_hparams(self, hparam_dict, metric_dict, hparam_domain_discrete=None, run_name=None, global_step=None):
        """A run's hyperparameters and what came of them."""
        from tensorboard.plugins.hparams import summary_v2 as H

        for name, given in (("hparam_dict", hparam_dict), ("metric_dict", metric_dict)):
            if not isinstance(given, dict):
                raise TypeError(f"parameter: {name} should be a dictionary, nothing logged.")
        plain = {k: (v.item() if isinstance(v, Tensor) else v) for k, v in hparam_dict.items() if v is not None}
        domains = hparam_domain_discrete or {}
        params = [H.HParam(k, H.Discrete(domains[k]) if k in domains else None) for k in plain]
        path = os.path.join(self.log_dir, run_name or str(time.time()))
        writer = self._make(path)
        for made in (H.hparams_config_pb(params, [H.Metric(k) for k in metric_dict]), H.hparams_pb(plain)):
            event = self._events.Event(wall_time=time.time())
            event.summary.ParseFromString(made.SerializeToString())
            writer.add_event(event)
        for name, value in metric_dict.items():
            self._add([self._value(name, simple_value=float(array(value)))], global_step, None, writer)
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


def sprites(images: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Images (n, C, H, W) in a square picture, row by row, as the projector cuts it; and one's (H, W)."""
    n, c, h, w = images.shape
    side = int(np.ceil(n**0.5))
    padded = np.concatenate([images, np.zeros((side * side - n, c, h, w), images.dtype)])
    rows = padded.reshape(side, side, c, h, w).transpose(0, 3, 1, 4, 2)
    return as_bytes(rows.reshape(side * h, side * w, c)), (h, w)


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
