"""How N environments are stepped."""
