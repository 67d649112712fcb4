"""Stage 1: media files in, feature caches out. Corpora are scanned, clips decoded, faces found, encoders run."""
