"""What steps environments on the host: one engine of `gpusim.host` in each file."""
