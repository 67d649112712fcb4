"""M3ED: Chinese dialogues of two people from television series; ercache reads their texts and emotions."""

from extract.corpora.m3ed.scan import ENTRY

__all__ = ["ENTRY"]
