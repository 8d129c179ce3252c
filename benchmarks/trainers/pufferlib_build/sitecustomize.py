"""Stands on PYTHONPATH while PufferLib 3.0.0 is built: with NO_OCEAN=1 its setup.py reads a name that it has not set."""

import builtins

vars(builtins)["c_extension_paths"] = []
