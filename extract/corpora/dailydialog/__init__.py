"""DailyDialog: everyday dialogues of two, written text with an emotion and an act per turn."""

from extract.corpora.dailydialog.scan import ENTRY

__all__ = ["ENTRY"]
