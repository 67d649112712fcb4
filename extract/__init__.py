"""Stage 1 of ercache: from media files to feature caches.

It scans corpora, decodes clips, detects faces and runs encoders.
"""
