"""Stage 2: reads the feature caches, and trains and scores models of conversations."""
