"""Thousands of agents in one process: their networks, environments and settings lie side by side, and learn by batched products."""
