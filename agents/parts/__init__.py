"""What learners are made of: tensors and modules that know of no run, no configuration and no algorithm."""
