"""`gpusim bench`, and what measures a figure and tells where it comes from; `benchmarks/` stands on it."""
