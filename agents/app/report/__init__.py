"""One HTML file about runs, without external parts."""
