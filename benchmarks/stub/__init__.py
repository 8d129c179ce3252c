"""A CUDA driver that computes nothing, so that all that a GPU is launched with can be seen where there is none.

`driver.py` puts it under Triton, whose own compiler, cache and launcher then run on tensors of the CPU.
"""
