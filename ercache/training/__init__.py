"""The training loop of every network, with its losses, optimizers and what makes it deterministic."""
