"""SummaryWriter's rarer things: sound, films, meshes, boxes in images, tensors, charts of several curves, ready counts."""

from __future__ import annotations

import io
import json
import time
import wave

import numpy as np

from flambeau.utils.tensorboard.values import arranged, array, as_bytes, pillow, png


def shape_of(dims):
    """A shape as TensorBoard has it."""
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in dims])


def tensor_of(values, kind: str = "DT_FLOAT"):
    """A TensorProto of numbers, or of byte strings."""
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    if kind == "DT_STRING":
        return TensorProto(dtype=kind, string_val=values, tensor_shape=shape_of([len(values)] if len(values) > 1 else []))
    a = np.asarray(values)
    return TensorProto(dtype=kind, tensor_content=np.ascontiguousarray(a).tobytes(), tensor_shape=shape_of(a.shape))


TENSORS = {
    "float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "uint8": "DT_UINT8", "int8": "DT_INT8", "int16": "DT_INT16",
    "int32": "DT_INT32", "int64": "DT_INT64", "bool": "DT_BOOL", "complex64": "DT_COMPLEX64", "complex128": "DT_COMPLEX128",
    "uint16": "DT_UINT16", "uint32": "DT_UINT32", "uint64": "DT_UINT64",
}  # fmt: skip


class Extras:
    """The methods; _value, _add and _metadata are SummaryWriter's."""

    def add_tensor(self, tag, tensor, global_step=None, walltime=None):
        """A tensor's elements."""
        a = array(tensor)
        if a.dtype.name not in TENSORS:
            raise ValueError(f"{tag} has unsupported tensor dtype {a.dtype}")
        value = self._value(tag, metadata=self._metadata("tensor"), tensor=tensor_of(a, TENSORS[a.dtype.name]))
        self._add([value], global_step, walltime)

    def add_histogram_raw(self, tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts, global_step=None,
                          walltime=None):  # fmt: skip
        """A distribution that is counted already."""
        limits, counts = [float(x) for x in bucket_limits], [float(x) for x in bucket_counts]
        if len(limits) != len(counts):
            raise ValueError("len(bucket_limits) != len(bucket_counts), see the document.")
        made = self._summary.HistogramProto(min=float(min), max=float(max), num=int(num), sum=float(sum),
                                            sum_squares=float(sum_squares), bucket_limit=limits, bucket=counts)  # fmt: skip
        self._add([self._value(tag, histo=made)], global_step, walltime)

    def add_audio(self, tag, snd_tensor, global_step=None, sample_rate=44100, walltime=None):
        """A sound of one channel, from -1 to 1."""
        sound = array(snd_tensor).squeeze()
        if sound.ndim != 1:
            raise AssertionError("input tensor should be 1 dimensional.")
        samples = (np.clip(sound, -1, 1) * 32767).astype("<i2")
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(sample_rate)
            out.writeframes(samples.tobytes())
        made = self._summary.Summary.Audio(sample_rate=sample_rate, num_channels=1, length_frames=len(samples),
                                           encoded_audio_string=file.getvalue(), content_type="audio/wav")  # fmt: skip
        self._add([self._value(tag, audio=made)], global_step, walltime)

    def add_video(self, tag, vid_tensor, global_step=None, fps=4, walltime=None):
        """Films (n, frames, channels, height, width), side by side, as a moving GIF."""
        v = as_bytes(array(vid_tensor))
        if v.ndim != 5:
            raise AssertionError(f"add_video: expected 5 dims (n, frames, channels, height, width), got {v.ndim}")
        frames = [np.concatenate([f.transpose(1, 2, 0) for f in moment], 1) for moment in v.transpose(1, 0, 2, 3, 4)]
        pictures = [pillow().fromarray(f.squeeze(-1) if f.shape[-1] == 1 else f) for f in frames]
        file = io.BytesIO()
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=int(1000 / fps), loop=0)
        h, w, c = frames[0].shape
        made = self._summary.Summary.Image(height=h, width=w, colorspace=c, encoded_image_string=file.getvalue())
        self._add([self._value(tag, image=made)], global_step, walltime)

    def add_image_with_boxes(self, tag, img_tensor, box_tensor, global_step=None, walltime=None, rescale=1, dataformats="CHW",
                             labels=None):  # fmt: skip
        """An image and boxes (xmin, ymin, xmax, ymax) in it."""
        from PIL import ImageDraw

        image = as_bytes(arranged(array(img_tensor), dataformats))
        boxes = array(box_tensor)
        labels = [labels] if isinstance(labels, str) else labels
        if labels is not None and len(labels) != len(boxes):
            raise AssertionError(f"add_image_with_boxes: got {len(boxes)} boxes and {len(labels)} labels")
        picture = pillow().fromarray(np.repeat(image, 3, 2) if image.shape[2] == 1 else image).convert("RGB")
        if rescale != 1:
            picture = picture.resize((int(picture.width * rescale), int(picture.height * rescale)))
        pen = ImageDraw.Draw(picture)
        for i, (left, top, right, bottom) in enumerate((boxes * rescale).tolist()):
            pen.rectangle([left, top, right, bottom], outline="red", width=2)
            if labels is not None:
                box = pen.textbbox((left, bottom), labels[i], anchor="lb")
                pen.rectangle(box, fill="red")
                pen.text((left, bottom), labels[i], fill="black", anchor="lb")
        shown = np.asarray(picture)
        made = self._summary.Summary.Image(height=shown.shape[0], width=shown.shape[1], colorspace=3, encoded_image_string=png(shown))
        self._add([self._value(tag, image=made)], global_step, walltime)

    def add_mesh(self, tag, vertices, colors=None, faces=None, config_dict=None, global_step=None, walltime=None):
        """Points (batch, n, 3) in space, with colours and faces."""
        from tensorboard.plugins.mesh import metadata
        from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData

        kinds = (
            ("VERTEX", MeshPluginData.VERTEX, vertices, np.float32, "DT_FLOAT"), ("FACE", MeshPluginData.FACE, faces, np.int32, "DT_INT32"),
            ("COLOR", MeshPluginData.COLOR, colors, np.uint8, "DT_UINT8"),
        )  # fmt: skip
        arrays = [(name, kind, array(x).astype(dtype), proto) for name, kind, x, dtype, proto in kinds if x is not None]
        for name, _, a, _ in arrays:
            if a.ndim != 3 or a.shape[2] != 3:
                raise AssertionError(f"add_mesh: {name.lower()} must have the shape (batch, n, 3), got {a.shape}")
        mask = metadata.get_components_bitmask([kind for _, kind, _, _ in arrays])
        values = []
        for name, kind, a, proto in arrays:
            meta = metadata.create_summary_metadata(tag, tag, kind, mask, a.shape, json_config=json.dumps(config_dict or {}, sort_keys=True))
            ours = self._summary.SummaryMetadata.FromString(meta.SerializeToString())
            values.append(self._value(f"{tag}_{name}", metadata=ours, tensor=tensor_of(a, proto)))
        self._add(values, global_step, walltime)

    def add_custom_scalars(self, layout):
        """Charts of several curves: {category: {title: ["Multiline" or "Margin", tags]}}."""
        from tensorboard.plugins.custom_scalar import layout_pb2 as L

        categories = []
        for category, charts in layout.items():
            made = []
            for title, (kind, tags) in charts.items():
                if kind == "Margin":
                    if len(tags) != 3:
                        raise AssertionError(f"Expected 3 tags, got {len(tags)}.")
                    series = L.MarginChartContent.Series(value=tags[0], lower=tags[1], upper=tags[2])
                    made.append(L.Chart(title=title, margin=L.MarginChartContent(series=[series])))
                else:
                    made.append(L.Chart(title=title, multiline=L.MultilineChartContent(tag=tags)))
            categories.append(L.Category(title=category, chart=made))
        text = L.Layout(category=categories).SerializeToString()
        meta = self._metadata("custom_scalars")
        self._add([self._value("custom_scalars__config__", metadata=meta, tensor=tensor_of([text], "DT_STRING"))], None, None)

    def add_custom_scalars_multilinechart(self, tags, category="default", title="untitled"):
        """One chart of several curves."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags, category="default", title="untitled"):
        """One chart of a curve between two others."""
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_onnx_graph(self, prototxt):
        """The graph of an ONNX file."""
        import onnx  # type: ignore[import-not-found]
        from tensorboard.compat.proto.graph_pb2 import GraphDef
        from tensorboard.compat.proto.node_def_pb2 import NodeDef

        graph = onnx.load(prototxt).graph
        maker = {name: node.name or node.output[0] for node in graph.node for name in node.output}
        nodes = [NodeDef(name=x.name, op="Variable") for x in (*graph.input, *graph.initializer)]
        nodes += [
            NodeDef(name=n.name or n.output[0], op=n.op_type, input=[maker.get(i, i) for i in n.input if i]) for n in graph.node
        ]
        self._writer.add_event(self._events.Event(wall_time=time.time(), graph_def=GraphDef(node=nodes).SerializeToString()))
