"""Emit every kernel that the parity expressions compile as PTX, and assemble it where ptxas is found; prints a summary.

Run as a process of its own (test_ptx.py), so that no kernel is in a cache already.
"""

import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from flambeau.runtime import kernels


def main(chip: str, stride: int) -> None:
    warnings.simplefilter("ignore")
    kernels.traced = []
    import flambeau as torch
    from flambeau.codegen import ptx
    from tests.parity import cases

    for group in cases.GROUPS:
        if group != "errors":
            for expression in cases.cases(group):
                cases.evaluate(torch, expression, cases.inputs(expression))
    programs, kernels.traced = kernels.traced, None
    first = {p.name: p for p in reversed(programs)}  # one specialisation of each
    chosen = [first[name] for name in sorted(first)][::stride]
    assembler = shutil.which("ptxas")
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "k.ptx"
        for program in chosen:
            source.write_text(ptx.assembly(program, chip))
            if assembler:
                run = subprocess.run(
                    [assembler, f"-arch={chip}", "-O1", source, "-o", Path(folder) / "k.cubin"], capture_output=True, text=True
                )
                if run.returncode:
                    failed.append(f"{program.name}: {run.stderr.strip()[:200]}")
    print(len(programs), len(chosen), "assembled" if assembler else "not assembled", *failed, sep="\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
