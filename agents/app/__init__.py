"""The command `gpusim`: its words, what it prints, draws and films, and what it says of the machine."""
