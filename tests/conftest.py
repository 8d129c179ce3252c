import torch

torch.set_num_threads(1)  # the tests are small, and run in several processes
