"""What the scans of several corpora share: files, media facts, subtitles, splits."""
