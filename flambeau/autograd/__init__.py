"""Automatic differentiation: the tape (graph), the engine, grad modes, Function, checks."""
