"""What all training runs share: the training loop, losses, optimizers, and deterministic settings."""
