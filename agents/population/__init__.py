"""Thousands of agents in one process: networks, environments and settings side by side, which learn by batched products."""
