"""DailyDialog: written everyday dialogues of two people, with an emotion and a dialogue act for each turn."""

from extract.corpora.dailydialog.scan import ENTRY

__all__ = ["ENTRY"]
