"""Every kernel that the parity expressions and the op table's matrix compile: verified, emitted as PTX, assembled where
ptxas is found. Prints how many were compiled, how many of them differ, whether they were assembled, and what failed.

Run as a process of its own (test_ptx.py), so that no kernel is in a cache already.
"""

import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import flambeau as torch
from flambeau.codegen import maths, ptx
from flambeau.codegen.emit import emit
from flambeau.codegen.target import SCALAR
from flambeau.ir.verify import Invalid, verify
from flambeau.runtime import kernels
from tests.ops import matrix
from tests.ops.samples import SAMPLES
from tests.parity import cases

CHIPS = ("sm_80", "sm_90")
BATCH = 48
ASSEMBLER = shutil.which("ptxas")


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


def assemble(work: tuple) -> list[str]:
    """Emit and assemble (number, program) pairs for each chip; what went wrong."""
    batch, level = work
    try:
        texts = ptx.assemblies({f"k{i}": p for i, p in batch}, CHIPS, level)
    except RuntimeError as e:
        return [f"{[p.name for _, p in batch]}: {e}"]
    failed = []
    for chip, text in zip(CHIPS, texts, strict=True) if ASSEMBLER else ():
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "k.ptx"
            source.write_text(text)
            run = subprocess.run([ASSEMBLER, f"-arch={chip}", f"-O{min(level, 1)}", source, "-o", source.with_suffix(".cubin")],
                                 capture_output=True, text=True)  # fmt: skip
            if run.returncode:
                failed.append(f"{chip}: {[p.name for _, p in batch]}: {run.stderr.strip()[:300]}")
    return failed


def main() -> None:
    warnings.simplefilter("ignore")
    found = programs()
    failed = invalid(found)
    distinct = list({emit(p, SCALAR, "k", maths.expand): p for p in found}.values())
    named = list({p.name: p for p in distinct}.values())  # these also as they are meant to run, optimised
    work = [(list(enumerate(some))[i : i + BATCH], level) for some, level in ((distinct, 0), (named, 2)) for i in range(0, len(some), BATCH)]
    with multiprocessing.get_context("fork").Pool() as pool:
        for said in pool.imap_unordered(assemble, work):
            failed += said
    print(len(found), len(distinct), "assembled" if ASSEMBLER else "not assembled", *failed, sep="\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
