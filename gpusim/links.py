"""`gpusim/kernels` and `gpusim/agents` are links to the folders beside `gpusim/`. Not every unpacker keeps links, nor does
every system; then the import says so at once."""

import os

_LOST = [name for name in ("kernels", "agents") if not os.path.isdir(os.path.join(os.path.dirname(__file__), name))]

if _LOST:
    links = " and ".join(f"gpusim/{name}" for name in _LOST)
    commands = " && ".join(f"ln -sfn ../{name} gpusim/{name}" for name in _LOST)
    raise ImportError(
        f"{links} should be links to the folders of that name beside gpusim/, and were lost when this copy was unpacked or "
        "cloned: use git clone, unzip or tar on a system that has links, or make them again, by "
        f"{commands}, and install again what was installed from here."
    )
