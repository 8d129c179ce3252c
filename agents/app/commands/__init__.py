"""A file for each command of `gpusim`; its `main` takes the words after the command and gives the exit code."""
