"""Entries are added to params.yaml without changing a byte of what stands there."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ercache.errors import ParamsError
from ercache.params.additions import with_entries

TEXT = """\
# head
roots: {demo: data/raw/demo} # made by `ercache demo`

corpora:
  demo: {}
  meld: {test_clip_variant: plain} # a choice

features:
    a: {encoder: x}
    b:
        encoder: y
        faces: &papers
            every: null
    c: {encoder: z, faces: *papers} # last

    # a remark behind

profiles:
  all: # every feature
    - a
    - b
pipeline: {} # corpus: profile
empty:
"""


def edited(tmp_path: Path, text: str, **additions: dict) -> str:  # type: ignore[type-arg]
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return with_entries(path, additions).text


def test_entries_are_added_and_every_old_line_stays(tmp_path: Path) -> None:
    added = {
        "roots": {"talks": "/data/my talks"},
        "corpora": {"talks": {"scan": "folder"}},
        "features": {"d": {"encoder": "w"}},
        "profiles": {"talks": ["a", "d"]},
        "pipeline": {"talks": "talks"},
        "empty": {"x": 1},
        "experiments": {"talks": {"model": "concat"}},
    }
    text = edited(tmp_path, TEXT, **added)
    new = [line for line in text.splitlines() if line not in TEXT.splitlines()]
    assert new == [
        "roots: {demo: data/raw/demo, talks: /data/my talks} # made by `ercache demo`",
        "  talks: {scan: folder}",
        "    d: {encoder: w}",
        "  talks: [a, d]",
        "pipeline: {talks: talks} # corpus: profile",
        "  x: 1",
        "experiments:",
        "  talks: {model: concat}",
    ]
    old = [line for line in TEXT.splitlines() if line and not line.startswith(("roots", "pipeline"))]
    assert [line for line in text.splitlines() if line in old] == old
    lines = text.splitlines()
    assert lines.index("    d: {encoder: w}") == lines.index("    c: {encoder: z, faces: *papers} # last") + 1


def test_an_entry_that_a_person_edited_is_kept_and_told(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    found = with_entries(path, {"corpora": {"meld": {}, "demo": {}}, "features": {"new": {"encoder": "x"}}})
    assert found.kept == ["corpora.meld"] and found.added == ["features.new"]
    assert yaml.safe_load(found.text)["corpora"]["meld"] == {"test_clip_variant": "plain"}
    assert with_entries(path, {"corpora": {"demo": {}}}).text == TEXT


def test_an_absent_file_is_made(tmp_path: Path) -> None:
    found = with_entries(tmp_path / "params.local.yaml", {"roots": {"talks": "/data/talks"}})
    assert found.text == "roots:\n  talks: /data/talks\n" and not (tmp_path / "params.local.yaml").exists()


def test_a_long_entry_has_a_line_for_each_key(tmp_path: Path) -> None:
    entry = {
        "model": "concat",
        "features": {m: [f"{m}_{n}" for n in range(5)] for m in ("text", "audio", "visual")},
    }
    text = edited(tmp_path, "", experiments={"x": entry})
    assert text.splitlines()[1:3] == ["  x:", "    model: concat"] and yaml.safe_load(text) == {
        "experiments": {"x": entry}
    }


@pytest.mark.parametrize("text", ["- 1\n", "a: [\n", "corpora: 3\n", "corpora: [meld]\n"])
def test_a_file_that_cannot_be_edited_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ParamsError):
        edited(tmp_path, text, corpora={"x": {}})


NAMES = st.text("abcxyz_-0123456789 :#'\"{}[],&*é", min_size=1, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(
    before=st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=3), max_size=3),
    section=NAMES,
    entries=st.dictionaries(NAMES, VALUES, min_size=1, max_size=2),
    flow=st.sampled_from([True, False, None]),
)
def test_any_entries_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict,
    section: str,
    entries: dict,
    flow: bool | None,  # type: ignore[type-arg]
) -> None:
    text = yaml.safe_dump(before, default_flow_style=flow, allow_unicode=True) if before else ""
    path = tmp_path_factory.mktemp("edit") / "p.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        found = with_entries(path, {section: entries}).text
    except ParamsError as error:
        assert "by hand" in str(error) and flow, "only a file that is all in braces may be refused"
        return
    assert yaml.safe_load(found) == {**before, section: {**entries, **before.get(section, {})}}
