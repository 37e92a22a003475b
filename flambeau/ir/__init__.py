"""The kernel language: scalar expressions (expr), loop nests (kernel), their NumPy meaning (interp)."""
