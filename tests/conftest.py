import os
import signal
from pathlib import Path

import torch

os.environ.setdefault("GPUSIM_CACHE", str(Path(__file__).parent.parent / ".gpusim_cache"))  # a home may not be written
torch.set_num_threads(1)  # the tests are small, and run in several processes
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:  # a job in the background, whose children would ignore it too
        signal.signal(number, handler)
