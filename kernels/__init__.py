"""Level 0: tensors in, tensors out. Nothing here knows what an environment or a policy is."""
