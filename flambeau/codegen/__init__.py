"""Loop nests to machine code: targets, vector mathematics, LLVM IR emission."""
