"""The same loop nests for NVIDIA GPUs: a traced kernel as PTX text.

The nest is emitted with one lane, as a device function over a range of the launch's axis, and an entry point gives each
thread of the grid its own range. That is a correct mapping, not yet a fast one: neighbouring threads of a GPU should take
neighbouring lanes. What it proves is that nothing in the language is bound to CPUs. Vendor libraries are to do products,
convolutions and attention.
"""

from __future__ import annotations

from flambeau.codegen.emit import emit
from flambeau.codegen.target import SCALAR
from flambeau.ir import kernel as K

ENTRY = """
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.nctaid.x()

define ptx_kernel void @{name}(ptr %args, i64 %extent) {{
  %tid32 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block32 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %size32 = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %blocks32 = call i32 @llvm.nvvm.read.ptx.sreg.nctaid.x()
  %tid = zext i32 %tid32 to i64
  %block = zext i32 %block32 to i64
  %size = zext i32 %size32 to i64
  %blocks = zext i32 %blocks32 to i64
  %first = mul i64 %block, %size
  %worker = add i64 %first, %tid
  %threads = mul i64 %blocks, %size
  %more = add i64 %extent, %threads
  %up = sub i64 %more, 1
  %each = udiv i64 %up, %threads
  %begin = mul i64 %worker, %each
  %after = add i64 %begin, %each
  %inside = icmp slt i64 %after, %extent
  %end = select i1 %inside, i64 %after, i64 %extent
  %any = icmp slt i64 %begin, %end
  br i1 %any, label %run, label %done
run:
  call void @{name}_range(ptr %args, i64 %begin, i64 %end, i64 %worker)
  br label %done
done:
  ret void
}}
"""


def assembly(program: K.Program, chip: str = "sm_80") -> str:
    """PTX of a traced kernel for a chip: entry `k`, of a pointer to the arguments and the launch's extent."""
    return assemblies({"k": program}, (chip,))[0]


def assemblies(programs: dict[str, K.Program], chips: tuple[str, ...], level: int = 2) -> list[str]:
    """PTX of several kernels in one module, one text per chip; the entries are named by the keys.

    level: how much LLVM optimises, 0 (not at all) to 3.
    """
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = None
    for name, program in programs.items():
        one = llvm.parse_assembly(module_text(program, name))
        if module is None:
            module = one
        else:
            module.link_in(one)
    module.verify()
    target = llvm.Target.from_triple("nvptx64-nvidia-cuda")
    machines = [target.create_target_machine(cpu=chip, features="+ptx78", opt=level) for chip in chips]
    if level:
        builder = llvm.create_pass_builder(machines[0], llvm.create_pipeline_tuning_options(speed_level=level))
        builder.getModulePassManager().run(module, builder)
    return [machine.emit_assembly(module) for machine in machines]


def module_text(program: K.Program, name: str) -> str:
    """LLVM IR of a kernel and its entry point `name`."""
    from flambeau.codegen import maths

    body = emit(program, SCALAR, f"{name}_range", maths.expand)
    body = body.replace(f"define void @{name}_range", f"define internal void @{name}_range")
    return f'target triple = "nvptx64-nvidia-cuda"\n{body}\n{ENTRY.format(name=name)}'
