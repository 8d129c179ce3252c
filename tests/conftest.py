import signal

import torch

torch.set_num_threads(1)  # the tests are small, and run in several processes
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:  # a job in the background, whose children would ignore it too
        signal.signal(number, handler)
