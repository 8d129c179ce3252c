"""`python -m gpusim.agents` is `gpusim`."""

from gpusim.agents.app.cli import main

if __name__ == "__main__":
    main()
