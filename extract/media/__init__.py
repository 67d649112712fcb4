"""Open media files, index their packets, and decode pictures and sound. All other packages read media through this one.

All reading goes through FFmpeg's libraries. Formats that refer to other files (playlists, for example) are
rejected, and time, pixels and memory are limited. If a file has a problem, `read_spans` and `read_clips` raise no
exception: they return clips that give the reason.
"""

from extract.media.clip import VERSION, Clip, Span, failed_clip, read_clips, read_spans

__all__ = ["VERSION", "Clip", "Span", "failed_clip", "read_clips", "read_spans"]
