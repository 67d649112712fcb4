"""Open media files, index their packets, and decode pictures and sound. All other packages read media through this one.

All reading goes through FFmpeg's libraries. Only containers that hold their own media are opened, and time, pixels and
memory are limited. If a file has a problem, the result is a reason; no exception is raised.
"""

from extract.media.clip import VERSION, Clip, Span, failed_clip, read_clips, read_spans

__all__ = ["VERSION", "Clip", "Span", "failed_clip", "read_clips", "read_spans"]
