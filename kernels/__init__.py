"""Level 0: what runs inside GPU kernels, and its specification in torch. It imports nothing of the levels above.

`lang` has the words that environments are written in, and `lower` makes kernel functions of them; `simulate_triton` steps
environments, `rollout_triton` with a policy inside. What learners compute is in pairs of files: `x.py` has the
specification, of which `twin` makes the function `x`, and `x_triton.py` has the kernels. How kernels are launched, how large
their blocks are, and what they compile to is in `launch`, `relaunch`, `tune` and `offline`.
"""
