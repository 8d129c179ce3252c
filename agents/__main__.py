"""`python -m gpusim.agents` is `gpusim`."""

from gpusim.agents.cli import main

main()
