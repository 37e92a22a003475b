"""Sequences of different lengths: padding them to one tensor, and packing them without padding."""

from collections import namedtuple
from itertools import pairwise

from flambeau.nn._base import Tensor, dt, ops, tensor

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence",
    "pad_packed_sequence", "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip

_Fields = namedtuple(
    "PackedSequence", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"]
)


class PackedSequence(_Fields):
    """Sequences laid out step by step, longest first: ``data[sum(batch_sizes[:t]):]`` starts step t.

    Made by ``pack_padded_sequence`` and ``pack_sequence``; taken by RNN, LSTM and GRU.
    """

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                "created manually. They should be instantiated by functions like pack_sequence and "
                "pack_padded_sequences in nn.utils.rnn. "
                "https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def pin_memory(self):
        """The same sequences in page-locked memory."""
        data, sizes, *order = self
        order = (None if t is None else t.pin_memory() for t in order)
        return type(self)(data.pin_memory(), sizes, *order)

    def to(self, *args, **kwargs):
        """The same sequences on another device or in another dtype."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        order = (self.sorted_indices, self.unsorted_indices)
        moved = (None if t is None else t.to(data.device) for t in order)
        return type(self)(data, self.batch_sizes, *moved)

    def cuda(self, *args, **kwargs):
        """The same sequences on a CUDA device."""
        target = ops.empty(0, dtype=self.data.dtype, device=self.data.device).to(*args, **kwargs)
        if target.device.type == "cuda":
            return self.to(*args, **kwargs)
        kwargs["device"] = "cuda"
        return self.to(*args, **kwargs)

    def cpu(self, *args, **kwargs):
        """The same sequences on the CPU."""
        return self.to(*args, device="cpu", **kwargs)

    def double(self):
        """The same sequences as float64."""
        return self.to(dtype=dt.float64)

    def float(self):
        """The same sequences as float32."""
        return self.to(dtype=dt.float32)

    def half(self):
        """The same sequences as float16."""
        return self.to(dtype=dt.float16)

    def long(self):
        """The same sequences as int64."""
        return self.to(dtype=dt.int64)

    def int(self):
        """The same sequences as int32."""
        return self.to(dtype=dt.int32)

    def short(self):
        """The same sequences as int16."""
        return self.to(dtype=dt.int16)

    def char(self):
        """The same sequences as int8."""
        return self.to(dtype=dt.int8)

    def byte(self):
        """The same sequences as uint8."""
        return self.to(dtype=dt.uint8)

    @property
    def is_cuda(self):
        """Whether the data is on a CUDA device."""
        return self.data.is_cuda

    def is_pinned(self):
        """Whether the data is in page-locked memory."""
        return self.data.is_pinned()


def invert_permutation(permutation):
    """q with q[p[i]] = i."""
    if permutation is None:
        return None
    n = permutation.numel()
    positions = ops.arange(0, n, device=permutation.device, dtype=permutation.dtype)
    return ops.empty_like(positions).scatter_(0, permutation, positions)


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Drop the padding of a batch.

    Shapes: input (t, b, *), or (b, t, *) with ``batch_first``; lengths (b).
    Args: enforce_sorted: the lengths are in descending order already; otherwise the batch is sorted.
    """
    if not isinstance(lengths, Tensor):
        lengths = tensor(list(lengths), dtype=dt.int64, device="cpu")
    else:
        lengths = lengths.to(dt.int64)
    sorted_indices = None
    if not enforce_sorted:
        lengths, sorted_indices = lengths.sort(descending=True)
        sorted_indices = sorted_indices.to(input.device)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    steps = input.transpose(0, 1) if batch_first else input
    counts = _checked_lengths(lengths, steps)
    batch_sizes = [sum(n > t for n in counts) for t in range(counts[0])]
    data = ops.cat([steps[t, :size] for t, size in enumerate(batch_sizes)])
    sizes = tensor(batch_sizes, dtype=dt.int64)
    return PackedSequence(data, sizes, sorted_indices, None)


def _checked_lengths(lengths, steps):
    if lengths.device.type != "cpu":
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.dim()}D {lengths.device} {lengths.dtype} tensor"
        )
    if steps.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    counts = lengths.tolist()
    if len(counts) != steps.size(1):
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} "
            f"(batch_size={steps.size(1)})"
        )
    if any(a < b for a, b in pairwise(counts)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if counts[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if counts[0] > steps.size(0):
        raise RuntimeError(
            f"Expected sequence length to be larger than the input, but got lengths up to "
            f"{counts[0]} for {steps.size(0)} steps"
        )
    return counts


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """(padded, lengths): the inverse of ``pack_padded_sequence``."""
    data, batch_sizes, _, unsorted_indices = sequence
    sizes = batch_sizes.tolist()
    longest = len(sizes)
    if total_length is not None and total_length < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, "
            f"but got total_length={total_length} and max sequence length being {longest}"
        )
    steps = []
    for part in data.split(sizes):
        short = sizes[0] - part.size(0)
        steps.append(_with_rows(part, short, padding_value))
    padded = ops.stack(steps)
    if total_length is not None and total_length > longest:
        padded = _with_rows(padded, total_length - longest, padding_value)
    lengths = tensor(
        [sum(size > b for size in sizes) for b in range(sizes[0])], dtype=dt.int64
    )
    if batch_first:
        padded = padded.transpose(0, 1)
    if unsorted_indices is not None:
        padded = padded.index_select(0 if batch_first else 1, unsorted_indices)
        lengths = lengths[unsorted_indices.cpu()]
    return padded, lengths


def _with_rows(x, n, value):
    """``x`` with ``n`` more rows of ``value``."""
    if n == 0:
        return x
    rows = ops.full((n, *x.shape[1:]), value, dtype=x.dtype, device=x.device)
    return ops.cat([x, rows])


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Stack sequences of different lengths, padded to the longest.

    Shapes: each (t_i, *) -> (t, b, *), or (b, t, *) with ``batch_first``.
    """
    if isinstance(sequences, Tensor):
        sequences = sequences.unbind(0)
    elif not hasattr(sequences, "__iter__"):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    sequences = tuple(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    longest = max(s.size(0) for s in sequences)
    padded = []
    for s in sequences:
        rows = (longest - s.size(0), *s.shape[1:])
        filler = ops.full(rows, padding_value, dtype=s.dtype, device=s.device)
        padded.append(ops.cat([filler, s] if padding_side == "left" else [s, filler]))
    return ops.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The sequences of a padded batch, as a list: the inverse of ``pad_sequence``."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [
        row[: int(n)] for row, n in zip(padded_sequences.unbind(0), lengths, strict=True)
    ]


def pack_sequence(sequences, enforce_sorted=True):
    """Pack a list of sequences of different lengths."""
    lengths = tensor([s.size(0) for s in sequences], dtype=dt.int64)
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The sequences of a PackedSequence, as a list: the inverse of ``pack_sequence``."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
