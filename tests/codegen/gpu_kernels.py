"""Every kernel that the parity expressions and the op table's matrix compile: verified, emitted as PTX, assembled where
ptxas is found. Prints how many were compiled, how many were emitted (those that differ), whether they were assembled, and
what failed. Register-tiled products, convolutions and attention are verified only: on GPUs they are vendor libraries'.

Run as a process of its own (test_ptx.py), so that no kernel is in a cache already.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flambeau as torch
from flambeau.codegen import maths, ptx
from flambeau.codegen.emit import emit
from flambeau.codegen.target import SCALAR
from flambeau.ir.kernel import Template
from flambeau.ir.verify import Invalid, verify
from flambeau.ops import (
    attention_kernels,
    conv_kernels,
    conv_planar_kernels,
    gemm_kernels,
    winograd_kernels,
)
from flambeau.runtime import kernels
from tests.ops import matrix
from tests.ops.samples import SAMPLES
from tests.parity import cases

CHIPS = ("sm_80", "sm_90")
BATCH = 48
ASSEMBLER = shutil.which("ptxas")
VENDORS = {  # their names
    k.name for m in (attention_kernels, conv_kernels, conv_planar_kernels, gemm_kernels, winograd_kernels) for k in vars(m).values()
    if isinstance(k, Template)
}


def programs() -> list:
    """What running everything traces."""
    kernels.traced = []
    for group in cases.GROUPS:
        for expression in cases.cases(group) if group != "errors" else ():
            cases.evaluate(torch, expression, cases.inputs(expression))
    for sample in SAMPLES:
        for check in matrix.CHECKS:
            check(sample)
    found, kernels.traced = kernels.traced, None
    return found


def invalid(found: list) -> list[str]:
    """What the verifier says of the programs."""
    said = []
    for program in found:
        try:
            verify(program, maths.expand)
        except Invalid as e:
            said.append(str(e))
    return said


def assemble(chip: str, text: str, level: int, names: list[str]) -> list[str]:
    """Assemble PTX; what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "k.ptx"
        source.write_text(text)
        command = [ASSEMBLER, f"-arch={chip}", f"-O{min(level, 1)}", source, "-o", source.with_suffix(".cubin")]
        run = subprocess.run(command, capture_output=True, text=True)
    return [f"{chip}: {names}: {run.stderr.strip()[:300]}"] if run.returncode else []


def main() -> None:
    warnings.simplefilter("ignore")
    found = programs()
    failed = invalid(found)
    distinct = list({emit(p, SCALAR, "k", maths.expand): p for p in found if p.name not in VENDORS}.values())
    named = list({p.name: p for p in distinct}.values())  # these also as they are meant to run, optimised
    work = [(some[i : i + BATCH], level) for some, level in ((distinct, 0), (named, 2)) for i in range(0, len(some), BATCH)]
    waiting = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch, level in work:
            names = [p.name for p in batch]
            try:
                texts = ptx.assemblies({f"k{i}": p for i, p in enumerate(batch)}, CHIPS, level)
            except RuntimeError as e:
                failed.append(f"{names}: {e}")
                continue
            for chip, text in zip(CHIPS, texts, strict=True) if ASSEMBLER else ():
                waiting.append(pool.submit(assemble, chip, text, level, names))
        for said in waiting:
            failed += said.result()
    print(len(found), len(distinct), "assembled" if ASSEMBLER else "not assembled", *failed, sep="\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
