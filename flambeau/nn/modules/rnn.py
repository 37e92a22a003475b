"""Recurrent layers RNN, LSTM and GRU. (Their single-step cells: rnn_cells.py.)"""

import math
import numbers
import warnings

from flambeau.nn import init
from flambeau.nn._base import ops
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.rnn_cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def apply_permutation(tensor, permutation, dim=1):
    """Deprecated: ``tensor.index_select(dim, permutation)``."""
    warnings.warn(
        "`apply_permutation` is deprecated, please use "
        "`tensor.index_select(dim, permutation)` instead",
        FutureWarning,
        stacklevel=2,
    )
    return tensor.index_select(dim, permutation)


def _require(value, kind, name, what):
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{name} should be of type {what}, got: {type(value).__name__}")


class RNNBase(Module):
    """What RNN, LSTM and GRU share: weights per layer and direction, checks, packing, and the call."""

    def __init__(
        self, mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
        dropout=0.0, bidirectional=False, proj_size=0, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_settings(dropout)
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self._make_weights({"device": device, "dtype": dtype})
        self.reset_parameters()

    def _check_settings(self, dropout):
        if (
            not isinstance(dropout, numbers.Number)
            or not 0 <= dropout <= 1
            or isinstance(dropout, bool)
        ):
            raise ValueError(
                "dropout should be a number in range [0, 1] "
                "representing the probability of an element being zeroed"
            )
        if dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={self.num_layers}",
                stacklevel=4,
            )
        _require(self.bias, bool, "bias", "bool")
        _require(self.batch_first, bool, "batch_first", "bool")
        _require(self.input_size, int, "input_size", "int")
        if self.input_size <= 0:
            raise ValueError("input_size must be greater than zero")
        _require(self.hidden_size, int, "hidden_size", "int")
        if self.hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if self.num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if self.proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")

    @property
    def _directions(self):
        return 2 if self.bidirectional else 1

    def _make_weights(self, kw):
        gates = _GATES[self.mode] * self.hidden_size
        out_size = self.proj_size or self.hidden_size
        self._all_weights = []
        for layer in range(self.num_layers):
            in_size = self.input_size if layer == 0 else out_size * self._directions
            shapes = {"weight_ih": (gates, in_size), "weight_hh": (gates, out_size)}
            if self.bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if self.proj_size:
                shapes["weight_hr"] = (self.proj_size, self.hidden_size)
            for suffix in ("", "_reverse")[: self._directions]:
                names = [f"{name}_l{layer}{suffix}" for name in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    setattr(self, name, Parameter(ops.empty(shape, **kw)))
                self._all_weights.append(names)

    @property
    def _flat_weights_names(self):
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self):
        return [getattr(self, name) for names in self._all_weights for name in names]

    def __getstate__(self):
        """PyTorch's state, which keeps the weights and their names in lists too, so that it reads our pickles."""
        return self.__dict__ | {"_flat_weights": self._flat_weights, "_flat_weights_names": self._flat_weights_names}

    def __setstate__(self, state):
        super().__setstate__({k: v for k, v in state.items() if k not in ("_flat_weights", "_flat_weights_names")})

    @property
    def all_weights(self):
        """The weights of each layer and direction, as a list of lists."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self):
        """Nothing to do: the kernels take the weights as they lie."""

    def reset_parameters(self):
        """Draw every weight from U(-k, k), k = 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    # Checks ------------------------------------------------------------------

    def check_input(self, input, batch_sizes):
        """Refuse an input whose dtype, rank or feature size does not fit."""
        weight = self._flat_weights[0]
        if weight.dtype != input.dtype and not _is_autocast():
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.size(-1)}"
            )

    def _batch_of(self, input, batch_sizes):
        if batch_sizes is not None:
            return int(batch_sizes[0])
        return input.size(0) if self.batch_first else input.size(1)

    def get_expected_hidden_size(self, input, batch_sizes):
        """(layers x directions, batch, hidden or projected size)."""
        size = self.proj_size if self.proj_size > 0 else self.hidden_size
        batch = self._batch_of(input, batch_sizes)
        return (self.num_layers * self._directions, batch, size)

    def check_hidden_size(
        self, hx, expected_hidden_size, msg="Expected hidden size {}, got {}"
    ):
        """Refuse a hidden state of the wrong shape."""
        if tuple(hx.size()) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.size())))

    def check_forward_args(self, input, hidden, batch_sizes):
        """Refuse an input or a hidden state that does not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx, permutation):
        """The hidden state with its batch in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    # The call ----------------------------------------------------------------

    def forward(self, input, hx=None):
        packed = isinstance(input, PackedSequence)
        if packed:
            data, batch_sizes, sorted_indices, unsorted_indices = input
            hx = self._zero_state(data, batch_sizes) if hx is None else (
                self.permute_hidden(hx, sorted_indices)
            )
            output, hidden = self._run(data, batch_sizes, hx)
            output = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
            return output, self.permute_hidden(hidden, unsorted_indices)
        return self._forward_dense(input, hx)

    def _forward_dense(self, input, hx):
        if input.dim() not in (2, 3):
            raise ValueError(
                f"{self._kind}: Expected input to be 2D or 3D, got {input.dim()}D"
                f"{self._dims_ending}"
            )
        batched = input.dim() == 3
        if hx is not None:
            self._check_state_dims(hx, batched)
        batch_dim = 0 if self.batch_first else 1
        if not batched:
            input = input.unsqueeze(batch_dim)
            hx = self._each_state(hx, lambda h: h.unsqueeze(1))
        hx = self._zero_state(input, None) if hx is None else hx
        output, hidden = self._run(input, None, hx)
        if not batched:
            output = output.squeeze(batch_dim)
            hidden = self._each_state(hidden, lambda h: h.squeeze(1))
        return output, hidden

    def _run(self, input, batch_sizes, hx):
        self.check_forward_args(input, hx, batch_sizes)
        tail = (
            self._flat_weights, self.bias, self.num_layers, self.dropout, self.training,
            self.bidirectional,
        )  # fmt: skip
        if batch_sizes is None:
            return self._split(self._kernel(input, hx, *tail, self.batch_first))
        return self._split(self._kernel(input, batch_sizes, hx, *tail))

    # What LSTM, with its two states, does differently --------------------------

    _dims_ending = " instead"

    @property
    def _kind(self):
        return self.mode

    @property
    def _kernel(self):
        return getattr(ops, self.mode.lower())

    def _split(self, results):
        return results[0], results[1]

    def _zero_state(self, input, batch_sizes):
        shape = self.get_expected_hidden_size(input, batch_sizes)
        return ops.zeros(shape, dtype=input.dtype, device=input.device)

    def _each_state(self, hx, fn):
        return None if hx is None else fn(hx)

    def _check_state_dims(self, hx, batched):
        wanted, form = (3, "batched") if batched else (2, "unbatched")
        if hx.dim() != wanted:
            raise RuntimeError(
                f"For {form} {wanted}-D input, hx should also be {wanted}-D "
                f"but got {hx.dim()}-D tensor"
            )

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False),
            ("dropout", 0), ("bidirectional", False),
        ):  # fmt: skip
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text


def _is_autocast():
    import flambeau

    enabled = getattr(flambeau, "is_autocast_enabled", None)
    return enabled is not None and enabled()


class RNN(RNNBase):
    """h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh), or with relu, in layers and directions.

    Shapes: x (t, n, in), or (n, t, in) with ``batch_first``, or (t, in); h (layers, n, hidden).
    """

    _dims_ending = " tensor instead"
    _kind = "RNN"

    def __init__(
        self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True,
        batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None, **kwargs,
    ):  # fmt: skip
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        _refuse_unknown("RNN", kwargs)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        self.__dict__["nonlinearity"] = nonlinearity
        super().__init__(
            "RNN_" + nonlinearity.upper(), input_size, hidden_size, num_layers, bias,
            batch_first, dropout, bidirectional, device=device, dtype=dtype,
        )  # fmt: skip


def _refuse_unknown(name, kwargs):
    for key in kwargs:
        raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{key}'")


class LSTM(RNNBase):
    """c_t = f * c_{t-1} + i * g, h_t = o * tanh(c_t), gates i, f, g, o linear in x_t and h_{t-1}.

    With ``proj_size``, h_t = W_hr (o * tanh(c_t)). Shapes: x (t, n, in) -> y (t, n, out), (h, c).
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
        bidirectional=False, proj_size=0, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, proj_size, device, dtype,
        )  # fmt: skip

    def get_expected_cell_size(self, input, batch_sizes):
        """(layers x directions, batch, hidden size)."""
        batch = self._batch_of(input, batch_sizes)
        return (self.num_layers * self._directions, batch, self.hidden_size)

    def check_forward_args(self, input, hidden, batch_sizes):
        self.check_input(input, batch_sizes)
        self.check_hidden_size(
            hidden[0], self.get_expected_hidden_size(input, batch_sizes),
            "Expected hidden[0] size {}, got {}",
        )  # fmt: skip
        self.check_hidden_size(
            hidden[1], self.get_expected_cell_size(input, batch_sizes),
            "Expected hidden[1] size {}, got {}",
        )  # fmt: skip

    def permute_hidden(self, hx, permutation):
        if permutation is None:
            return hx
        return hx[0].index_select(1, permutation), hx[1].index_select(1, permutation)

    def _split(self, results):
        return results[0], tuple(results[1:])

    def _zero_state(self, input, batch_sizes):
        kw = {"dtype": input.dtype, "device": input.device}
        return (
            ops.zeros(self.get_expected_hidden_size(input, batch_sizes), **kw),
            ops.zeros(self.get_expected_cell_size(input, batch_sizes), **kw),
        )

    def _each_state(self, hx, fn):
        return None if hx is None else (fn(hx[0]), fn(hx[1]))

    def _check_state_dims(self, hx, batched):
        wanted, form = (3, "batched") if batched else (2, "unbatched")
        if hx[0].dim() != wanted or hx[1].dim() != wanted:
            raise RuntimeError(
                f"For {form} {wanted}-D input, hx and cx should also be {wanted}-D "
                f"but got ({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )


class GRU(RNNBase):
    """h_t = (1 - z) * n + z * h_{t-1}, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)).

    Shapes: x (t, n, in) -> y (t, n, hidden), h (layers, n, hidden).
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
        bidirectional=False, device=None, dtype=None, **kwargs,
    ):  # fmt: skip
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        _refuse_unknown("GRU", kwargs)
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, device=device, dtype=dtype,
        )  # fmt: skip
