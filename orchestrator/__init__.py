"""Lockstep: a model x benchmark matrix, each model in the hash-locked environment it needs."""

__version__ = "0.1.0"
