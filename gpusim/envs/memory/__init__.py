"""Tasks that ask for what was seen some steps ago."""
