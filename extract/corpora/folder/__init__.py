"""The corpus `folder`: the user's own clips with a table, or recordings with transcripts."""

from extract.corpora.folder.scan import ENTRY

__all__ = ["ENTRY"]
