"""Record files of PyTorch's for tests/serialization and tests/optim: `python tools/record_files.py` with PyTorch installed."""

import io
import pathlib
import sys
import zipfile

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "serialization"))
sys.path.insert(0, str(ROOT / "tests" / "optim"))
from continue_cases import CASES, case_id, start, train
from file_cases import sparse_tree, tree


def file(obj, **options) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(obj, buffer, **options)
    return buffer.getvalue()


def files():
    """Names and bytes."""
    made = tree(torch)
    yield "protocol2.pt", file(made)
    yield "protocol5.pt", file(made, pickle_protocol=5)
    old = {k: v for k, v in made.items() if k not in ("uint16", "uint32", "uint64")}  # which the old format cannot hold
    yield "legacy.pt", file(old, _use_new_zipfile_serialization=False)
    yield "sparse.pt", file(sparse_tree(torch))
    torch.manual_seed(0)
    yield "encoder.pt", file(torch.nn.TransformerEncoderLayer(4, 2))
    yield "lstm.pt", file(torch.nn.LSTM(2, 3, 2))
    yield "sequential.pt", file(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU()))
    for case in CASES:
        run = start(torch, case)
        train(torch, run, 3)
        half = file(run.state())
        train(torch, run, 4)
        yield f"{case_id(case)}.half.pt", half
        yield f"{case_id(case)}.end.pt", file(run.state())


def main():
    """Write tests/data/pytorch_files.zip."""
    torch.set_num_threads(1)
    path = ROOT / "tests" / "data" / "pytorch_files.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files():
            out.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    print(f"{path.name}: {path.stat().st_size} bytes, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
