"""Stage 2: feature caches in, trained conversation models and their scores out."""
