"""The only room that touches media: files are opened, their packets listed, pictures and sound decoded.

Everything goes through FFmpeg's libraries, offered only containers that hold their own media, and under limits on time,
pixels and memory. What is wrong with a file is a result with a reason; nothing of it is raised.
"""

from extract.media.clip import VERSION, Clip, Stretch, nothing, read_clips, read_stretches

__all__ = ["VERSION", "Clip", "Stretch", "nothing", "read_clips", "read_stretches"]
