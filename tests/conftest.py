import signal

import torch

torch.set_num_threads(1)  # the tests are small, and run in several processes
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a job in the background, whose children would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)
