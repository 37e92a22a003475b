"""Record PyTorch's answers to the expressions of tests/parity/cases.py: python tools/record_parity.py (with torch)."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    import torch

    from tests.parity import cases

    warnings.simplefilter("ignore")
    texts, arrays, wrong = {}, {}, []
    for group in cases.GROUPS:
        for number, expression in enumerate(cases.cases(group)):
            result = cases.evaluate(torch, expression, cases.inputs(expression))
            if (group == "errors") != ("error" in result):
                wrong.append(f"{group}: {expression}: {result}")
            key = f"{group}/{number}"
            texts[key] = {"expression": expression} | {k: v for k, v in result.items() if isinstance(v, str)}
            arrays.update({f"{key}/{k}": v for k, v in result.items() if not isinstance(v, str)})
    if wrong:
        raise SystemExit("\n".join(wrong))
    data = ROOT / "tests" / "data"
    np.savez_compressed(data / "parity.npz", **arrays)
    (data / "parity.json").write_text(json.dumps(texts, indent=0, sort_keys=True) + "\n")
    print(f"{len(texts)} expressions, {len(arrays)} arrays")


if __name__ == "__main__":
    main()
