"""Functions that the scans of all corpora use: file listings, media facts, subtitles and splits."""
