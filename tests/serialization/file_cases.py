"""A checkpoint with one of everything, made by either library: what tools/record_files.py saves and the tests compare."""

import collections

DTYPES = (
    "float32 float64 float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128".split()
)


def tree(T):
    """The checkpoint; T is torch or flambeau."""
    x = T.arange(20.0).reshape(4, 5)
    p, noted = T.nn.Parameter(T.ones(2)), T.ones(3)
    p.tag, noted.note = "a", 1
    made = {
        "x": x, "view": x[1:, ::2], "turned": x.t(), "expanded": T.ones(1).expand(3, 2), "parameter": p, "noted": noted,
        "empty": T.zeros(0, 3), "scalar": T.tensor(2.0), "wanted": T.ones(2, requires_grad=True), "layout": T.strided,
        "device": T.device("cpu"), "size": T.Size([1, 2]), "set": {1, 2}, "dtype": T.float16, "buffer": T.nn.Buffer(T.ones(2)),
        "bytearray": bytearray(b"xyz"), "bytes": b"a\xffc", "complex": 1 + 2j, "counter": collections.Counter("aab"),
        "nested": [(1, {"a": [T.ones(1)]})], "big": 2**200, "negative": -5, "inf": float("inf"), "text": "é中", "none": [None, True],
        "long": "ab" * 300, "ordered": collections.OrderedDict(b=1, a=2), "state": T.nn.BatchNorm2d(3).state_dict(),
    }  # fmt: skip
    return made | {name: T.tensor([0, 1, 1]).to(getattr(T, name)) for name in DTYPES}


def sparse_tree(T):
    """Sparse tensors: with indices out of order, coalesced, with dense dimensions, empty; and an optimizer's state of them."""
    s = T.sparse_coo_tensor([[0, 1, 1, 0], [2, 0, 2, 2]], [3.0, 4.0, 5.0, 6.0], (2, 3))
    table = T.nn.Embedding(4, 2, sparse=True, _weight=T.arange(8.0).reshape(4, 2))
    optimizer = T.optim.SGD(table.parameters(), lr=0.5, momentum=0.9)
    table(T.tensor([1, 3, 1])).sum().backward()
    optimizer.step()
    return {
        "s": s, "coalesced": s.coalesce(), "rows": T.sparse_coo_tensor([[1, 0]], [[1, 2], [3, 4]], (3, 2)),
        "empty": T.sparse_coo_tensor((2, 0, 3), dtype=T.float64), "optimizer": optimizer.state_dict(), "layout": T.sparse_coo,
    }  # fmt: skip
