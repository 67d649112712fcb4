"""Open media files, index their packets, and decode pictures and sound. Only this package touches media.

All reading goes through FFmpeg's libraries. Only containers that hold their own media are opened, and time, pixels and
memory are limited. A problem with a file is a result with a reason; it does not raise an exception.
"""

from extract.media.clip import VERSION, Clip, Span, failed_clip, read_clips, read_spans

__all__ = ["VERSION", "Clip", "Span", "failed_clip", "read_clips", "read_spans"]
