"""Stepping on a CPU: environments as C++ (`native`), or eagerly on NumPy arrays and torch tensors (`eager`)."""
