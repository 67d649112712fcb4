"""docs/encoders.md is the registry's; the table is the same on every machine."""

from pathlib import Path

import pytest

from app.commands.listing import _measured
from app.docs_pages.encoders import BEGIN, END, described, encoder_rows, table_text
from app.docs_pages.tables import page_with_table
from ercache.errors import UsageError
from extract.encoders import ENCODERS
from extract.encoders.base import WHOLE_DIALOGUE, Input
from extract.media.types import PictureRequest

PAGE = Path(__file__).parents[3] / "docs" / "encoders.md"


def test_the_page_is_up_to_date_with_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGE.parents[1])
    page = PAGE.read_text(encoding="utf-8")
    stale = "run `ercache encoders --write docs/encoders.md` and commit the result"
    assert page_with_table(page, table_text(_measured()), BEGIN, END) == page, stale


def test_every_encoder_has_a_row_with_all_documented_fields() -> None:
    rows = {row["key"]: row for row in encoder_rows()}
    assert rows.keys() == ENCODERS.keys()
    promised = {"key", "modality", "input", "dims", "kind", "weights", "licence", "available", "why_not"}
    assert all(promised <= row.keys() and row["available"] == (not row["why_not"]) for row in rows.values())


def test_inputs_are_described_in_words() -> None:
    assert described(Input(text=True, speaker=True, past=WHOLE_DIALOGUE, future=1)) == (
        "text, speakers, all turns before, 1 turn after"
    )
    asked = Input(rate=22_050, pictures=PictureRequest(count=15, every=0.5, rule="middle"), faces=True)
    assert described(asked) == "22.05 kHz mono, 15 pictures every 0.5 s (middle), faces"


def test_the_table_holds_the_speeds_of_the_benchmark() -> None:
    text = table_text({"text/minilm": {"cpu": {"utterances_per_second": 183.7, "of_forward": 0.934}}})
    row = next(line for line in text.splitlines() if "`text/minilm`" in line)
    assert row.endswith("| 183.7/s (93 % of the bare forward) |  |")


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    assert (
        page_with_table(f"a\n{BEGIN}\nold\n{END}\nb", "new", BEGIN, END) == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
    )
    for page in ("nothing", BEGIN, f"{END} {BEGIN}"):
        with pytest.raises(UsageError, match="no place"):
            page_with_table(page, "new", BEGIN, END)
