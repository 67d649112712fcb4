"""The demo corpus: a small corpus in the layout of MELD that `ercache demo` generates."""

from extract.corpora.demo.scan import ENTRY

__all__ = ["ENTRY"]
