"""The one exception that means: what was asked for cannot be done, and this sentence says why and what can."""


class InputError(ValueError):
    """Bad input, refused before anything changed. On the command line: the sentence alone, and exit code 2."""
