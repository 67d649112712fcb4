"""The demo corpus: a small generated corpus with the same files and folders as MELD. `ercache demo` generates it."""

from extract.corpora.demo.scan import ENTRY

__all__ = ["ENTRY"]
