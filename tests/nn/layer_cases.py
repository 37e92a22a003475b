"""Layers to compare with recorded PyTorch answers: (class, arguments, keywords, inputs).

An input is a short string: kind and sizes. ``f:3,4`` wave-shaped floats, ``p:`` the same in (0, 1), ``s:`` signs,
``i5:`` integers below 5, ``d:`` float64; ``=`` the same tensor as the first input; ``(a b)`` a tuple; a list of
integers stands for itself. tools/record_nn.py writes the answers; test_layers.py reads them.
"""

import numpy as np

X1, X2, X3, V = "f:2,4,6", "f:2,4,6,7", "f:2,4,5,6,7", "f:3,4"
SEQ = "f:6,2,4"


def array(spec):
    """The NumPy array that an input string means."""
    kind, _, sizes = spec.partition(":")
    shape = tuple(int(n) for n in sizes.split(",") if n)
    n = int(np.prod(shape))
    wave = np.sin(1.0 + 1.7 * np.arange(n) + 0.3 * np.arange(n) % 2.1)
    if kind == "f":
        return wave.reshape(shape).astype(np.float32)
    if kind == "d":
        return wave.reshape(shape)
    if kind == "p":
        return (0.5 + 0.45 * wave).reshape(shape).astype(np.float32)
    if kind == "s":
        return np.where(wave > 0, 1.0, -1.0).reshape(shape).astype(np.float32)
    if kind == "t":
        return (np.arange(n) % 2).reshape(shape).astype(np.float32)
    return ((np.arange(n) * 7 + 3) % int(kind[1:])).reshape(shape).astype(np.int64)


CASES = [
    ("Linear", (4, 3), {}, [V]),
    ("Linear", (4, 3), {"bias": False}, [V]),
    ("Bilinear", (4, 4, 3), {}, [V, "p:3,4"]),
    ("Identity", (1,), {"a": 3}, [V]),
    ("Conv1d", (4, 6, 3), {}, [X1]),
    ("Conv1d", (4, 6, 3), {"padding": "same", "dilation": 2, "groups": 2}, [X1]),
    ("Conv1d", (4, 6, 3), {"padding": 1, "stride": 2, "padding_mode": "circular", "bias": False}, [X1]),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0)}, [X2]),
    ("Conv2d", (4, 6, 3), {"padding": "same", "padding_mode": "reflect"}, [X2]),
    ("Conv2d", (4, 4, 3), {"padding": "valid", "groups": 4}, ["f:4,6,7"]),
    ("Conv3d", (4, 6, 3), {"padding": 1, "padding_mode": "replicate"}, [X3]),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1}, [X1]),
    ("ConvTranspose2d", (4, 6, 3), {"groups": 2, "dilation": 2, "bias": False}, [X2]),
    ("ConvTranspose3d", (4, 6, 3), {"padding": 1}, [X3]),
    ("MaxPool1d", (2,), {}, [X1]),
    ("MaxPool2d", (2,), {"stride": 1, "padding": 1, "ceil_mode": True}, [X2]),
    ("MaxPool3d", ((2, 2, 1),), {"return_indices": True}, [X3]),
    ("MaxUnpool2d", (2,), {"stride": 3}, []),
    ("AvgPool1d", (2,), {}, [X1]),
    ("AvgPool2d", (2,), {"divisor_override": 3}, [X2]),
    ("AvgPool3d", (2,), {"count_include_pad": False, "padding": 1}, [X3]),
    ("LPPool1d", (2, 2), {}, [X1]),
    ("LPPool2d", (1.5, 2), {"stride": 1}, ["p:2,4,6,7"]),
    ("AdaptiveAvgPool1d", (3,), {}, [X1]),
    ("AdaptiveAvgPool2d", ((None, 3),), {}, [X2]),
    ("AdaptiveAvgPool3d", (2,), {}, [X3]),
    ("AdaptiveMaxPool1d", (3,), {}, [X1]),
    ("AdaptiveMaxPool2d", ((None, 3),), {"return_indices": True}, [X2]),
    ("AdaptiveMaxPool3d", (2,), {}, [X3]),
    ("FractionalMaxPool2d", (2,), {"output_size": 3}, [X2]),
    ("FractionalMaxPool3d", (2,), {"output_ratio": 0.5}, [X3]),
    ("Flatten", (), {}, [X2]),
    ("Unflatten", (1, (2, 2)), {}, [X2]),
    ("Fold", ((4, 5), (2, 2)), {}, ["f:2,12,12"]),
    ("Unfold", (2,), {"stride": 2, "padding": 1}, [X2]),
    ("PixelShuffle", (2,), {}, [X2]),
    ("PixelUnshuffle", (2,), {}, ["f:1,2,4,4"]),
    ("ChannelShuffle", (2,), {}, [X2]),
    ("Upsample", (), {"scale_factor": 2}, [X2]),
    ("Upsample", ((3, 4),), {"mode": "bilinear", "align_corners": True}, [X2]),
    ("UpsamplingNearest2d", (), {"size": 5}, [X2]),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, [X2]),
    ("Dropout", (0.3,), {}, [V]),
    ("Dropout1d", (0.3,), {}, [X1]),
    ("Dropout2d", (0.3,), {}, [X2]),
    ("Dropout3d", (0.3,), {}, [X3]),
    ("AlphaDropout", (0.3,), {}, [V]),
    ("FeatureAlphaDropout", (0.3,), {}, [X2]),
    ("BatchNorm1d", (4,), {}, [X1]),
    ("BatchNorm1d", (4,), {"momentum": None}, [V]),
    ("BatchNorm2d", (4,), {"affine": False}, [X2]),
    ("BatchNorm2d", (4,), {"bias": False, "track_running_stats": False}, [X2]),
    ("BatchNorm3d", (4, 1e-3, 0.2), {}, [X3]),
    ("SyncBatchNorm", (4,), {}, []),
    ("InstanceNorm1d", (4,), {}, [X1]),
    ("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True}, [X2]),
    ("InstanceNorm3d", (4,), {}, ["f:4,5,6,7"]),
    ("GroupNorm", (2, 4), {}, [X2]),
    ("GroupNorm", (2, 4), {"affine": False}, [X2]),
    ("LayerNorm", (7,), {}, [X2]),
    ("LayerNorm", ((6, 7),), {"bias": False}, [X2]),
    ("RMSNorm", (7,), {}, [X2]),
    ("RMSNorm", ((6, 7),), {"eps": 1e-3, "elementwise_affine": False}, [X2]),
    ("LocalResponseNorm", (2,), {}, [X2]),
    ("CrossMapLRN2d", (3,), {}, []),
    ("Embedding", (5, 3), {}, ["i5:2,3"]),
    ("Embedding", (5, 3, -2), {}, ["i5:2,3"]),
    ("Embedding", (5, 3, 1, 2.0, 3.0, True), {}, ["i5:2,3"]),
    ("EmbeddingBag", (5, 3), {}, ["i5:2,3"]),
    ("EmbeddingBag", (5, 3), {"mode": "max", "padding_idx": 2}, ["i5:2,3"]),
    ("RNN", (4, 5), {}, [SEQ]),
    ("RNN", (4, 5, 2, "relu"), {}, [SEQ]),
    ("LSTM", (4, 5), {}, [SEQ]),
    ("LSTM", (4, 5, 2), {"bidirectional": True, "batch_first": True}, ["f:2,6,4"]),
    ("LSTM", (4, 5, 2), {"proj_size": 3}, ["f:6,4"]),
    ("LSTM", (4, 5, 2), {"proj_size": 3, "bias": False, "bidirectional": True}, [SEQ]),
    ("GRU", (4, 5), {}, [SEQ, "p:1,2,5"]),
    ("GRU", (4, 5, 2, True, True), {"bidirectional": True}, ["f:2,6,4"]),
    ("RNNCell", (4, 5), {}, [V]),
    ("RNNCell", (4, 5, False, "relu"), {}, ["f:4"]),
    ("LSTMCell", (4, 5), {}, [V]),
    ("GRUCell", (4, 5), {}, [V, "p:3,5"]),
    ("MultiheadAttention", (4, 2), {}, ["f:5,3,4", "p:5,3,4", "s:5,3,4"]),
    ("MultiheadAttention", (4, 2, 0.0, False, True, True), {"kdim": 3, "vdim": 5},
     ["f:5,3,4", "f:6,3,3", "f:6,3,5"]),
    ("MultiheadAttention", (4, 2), {"batch_first": True}, ["f:3,5,4", "=", "="]),
    ("TransformerEncoderLayer", (4, 2, 8, 0.0), {}, ["f:5,3,4"]),
    ("TransformerEncoderLayer", (4, 2, 8, 0.0, "gelu"),
     {"batch_first": True, "norm_first": True, "bias": False}, ["f:5,3,4"]),
    ("TransformerDecoderLayer", (4, 2, 8, 0.0), {}, ["f:5,3,4", "f:6,3,4"]),
    ("Transformer", (8, 2, 2, 2, 16, 0.0), {}, ["f:5,3,8", "f:6,3,8"]),
    ("PairwiseDistance", (), {}, [V, "p:3,4"]),
    ("CosineSimilarity", (), {}, [V, "p:3,4"]),
    ("AdaptiveLogSoftmaxWithLoss", (4, 12, [3, 7]), {"div_value": 2.0}, ["f:9,4", "i12:9"]),
    ("Softmax2d", (), {}, [X2]),
    ("GELU", (), {}, [V]),
]  # fmt: skip

ACTIVATIONS = {
    "ReLU": (), "SELU": (), "SiLU": (), "Mish": (), "Hardswish": (), "Hardsigmoid": (), "Sigmoid": (), "Tanh": (),
    "LogSigmoid": (), "Softsign": (), "Tanhshrink": (), "ReLU6": (), "ELU": (0.5,), "CELU": (0.7,),
    "LeakyReLU": (0.2,), "GELU": ("tanh",), "Hardshrink": (0.3,), "Softshrink": (0.3,), "Softplus": (2.0, 3.0),
    "PReLU": (4, 0.3), "Softmin": (1,), "Softmax": (0,), "LogSoftmax": (-1,), "Threshold": (0.1, 2.0),
    "RReLU": (0.1, 0.4), "Hardtanh": (-0.5, 0.6), "GLU": (1,),
}  # fmt: skip
CASES += [(name, args, {}, [V]) for name, args in ACTIVATIONS.items()]
CASES += [
    (f"{kind}Pad{n}d", ((1, 2) * n,), {}, [(X1, X2, X3)[n - 1]])
    for n in (1, 2, 3)
    for kind in ("Circular", "Reflection", "Replication", "Zero")
]
CASES += [(f"ConstantPad{n}d", (1, 3.5), {}, [(X1, X2, X3)[n - 1]]) for n in (1, 2, 3)]

LOSSES = [
    ("L1Loss", (), {}, [V, "p:3,4"]),
    ("MSELoss", (), {}, [V, "p:3,4"]),
    ("SmoothL1Loss", (), {"beta": 0.3}, [V, "p:3,4"]),
    ("HuberLoss", (), {"delta": 0.3}, [V, "p:3,4"]),
    ("NLLLoss", (), {"ignore_index": 2}, [V, "i4:3"]),
    ("CrossEntropyLoss", (), {}, [V, "i4:3"]),
    ("CrossEntropyLoss", (), {"label_smoothing": 0.2}, [V, "i4:3"]),
    ("PoissonNLLLoss", (False, True), {}, ["p:3,4", "p:3,4"]),
    ("GaussianNLLLoss", (), {"full": True}, [V, V, "p:3,4"]),
    ("KLDivLoss", (), {"log_target": True}, [V, V]),
    ("BCELoss", (), {}, ["p:3,4", "t:3,4"]),
    ("BCEWithLogitsLoss", (), {}, [V, "t:3,4"]),
    ("HingeEmbeddingLoss", (0.5,), {}, [V, "s:3,4"]),
    ("MultiLabelMarginLoss", (), {}, [V, "i4:3,4"]),
    ("SoftMarginLoss", (), {}, [V, "s:3,4"]),
    ("MultiLabelSoftMarginLoss", (), {}, [V, "t:3,4"]),
    ("CosineEmbeddingLoss", (0.1,), {}, [V, "p:3,4", "s:3"]),
    ("MarginRankingLoss", (0.1,), {}, ["f:3", "p:3", "s:3"]),
    ("MultiMarginLoss", (2, 0.5), {}, [V, "i4:3"]),
    ("TripletMarginLoss", (0.5, 1.0, 1e-3, True), {}, [V, "p:3,4", "s:3,4"]),
    ("TripletMarginWithDistanceLoss", (), {"swap": True}, [V, "p:3,4", "s:3,4"]),
    ("LinearCrossEntropyLoss", (4, 3), {"out_features": (2,), "bias": True}, [V, "i3:3,2"]),
    ("CTCLoss", (), {}, ["f:7,2,5", "i4:2,3", [7, 6], [3, 2]]),
]
CASES += [
    (name, args, {**kwargs, "reduction": reduction}, inputs)
    for name, args, kwargs, inputs in LOSSES
    for reduction in ("mean", "sum", "none")
]
NO_TARGET_GRADIENT = {name for name, *_ in LOSSES} | {"AdaptiveLogSoftmaxWithLoss"}


def case_id(case):
    """``Conv2d-4, 6, 3-padding=same``."""
    name, args, kwargs, inputs = case
    settings = ",".join(f"{k}={v}" for k, v in kwargs.items())
    return f"{name}-{args}-{settings}-{'/'.join(map(str, inputs))}".replace(" ", "")


def leaves(value):
    """The tensors in nested tuples, in order."""
    if isinstance(value, (tuple, list)):
        return [t for v in value for t in leaves(v)]
    return [value] if hasattr(value, "dtype") and hasattr(value, "shape") else []


def digest(t):
    """What is recorded of a tensor: shape, dtype, a weighted sum, the largest magnitude, the first values."""
    if t is None:
        return None
    a = np.asarray(t.detach().double().numpy()).ravel()
    weights = np.cos(0.37 * np.arange(a.size))
    largest = float(np.abs(a).max()) if a.size else 0.0
    return [list(t.shape), str(t.dtype), float((a * weights).sum()), largest, [float(v) for v in a[:3]]]


def run(lib, case):
    """Everything recorded of one case: repr, initial state, and outputs and gradients in both modes."""
    name, args, kwargs, inputs = case
    lib.manual_seed(3)
    module = getattr(lib.nn, name)(*args, **kwargs)
    answer = {
        "repr": repr(module),
        "state": {key: digest(value) for key, value in module.state_dict().items()},
        "parameters": [n for n, _ in module.named_parameters()],
    }
    for mode in ("train", "eval") if inputs else ():
        module.train(mode == "train")
        answer[mode] = forward_backward(lib, module, name, inputs)
    return answer


def forward_backward(lib, module, name, inputs):
    """Digests of outputs, input gradients, parameter gradients, and the state afterwards."""
    values = []
    for i, spec in enumerate(inputs):
        if spec == "=":
            values.append(values[0])
        elif isinstance(spec, list):
            values.append(lib.tensor(spec))
        else:
            t = lib.tensor(array(spec))
            wants = t.is_floating_point() and (i == 0 or name not in NO_TARGET_GRADIENT)
            values.append(t.requires_grad_() if wants else t)
    lib.manual_seed(7)
    module.zero_grad()
    outputs = leaves(module(*values))
    loss = 0.0
    for y in outputs:
        if y.is_floating_point():
            weights = lib.tensor(np.cos(0.37 * np.arange(y.numel())).reshape(tuple(y.shape)).astype(np.float32))
            loss = loss + (y * weights).sum()
    if loss.requires_grad:
        loss.backward()
    return {
        "out": [digest(y) for y in outputs],
        "inputs": [digest(v.grad) for v in values if v.requires_grad],
        "parameters": [digest(p.grad) for p in module.parameters()],
        "state": [digest(v) for v in module.state_dict().values()],
    }
