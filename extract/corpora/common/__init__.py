"""Shared parts of the scans: file listings, media facts, subtitles and splits."""
