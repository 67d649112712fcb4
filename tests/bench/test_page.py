"""The page of figures: what they were measured on, one table of figures, one for every family of alike figures."""

from bench.__main__ import page

MACHINE = {"processor": "x86_64", "cores": 2, "memory_gb": 25, "system": "Linux", "python": "3.11.7"}


def test_figures_that_are_alike_share_a_table_and_lists_stay_in_the_json() -> None:
    recall = {"demo": {"paper": 1.0, "fast": 0.9}, "photographs": {"paper": 0.5}}
    text = page(
        {
            "faces": {
                "machine": MACHINE,
                "every": 0.25,
                "recall": recall,
                "deep": {"one": {"a": 1}},
                "ids": [1],
            }
        }
    )
    section = text.split("## faces\n", 1)[1]
    assert section.strip().splitlines() == [
        "Measured on 2 cores, 25 GB, Linux x86_64, Python 3.11.7.",
        "",
        "| figure | value |",
        "|---|---|",
        "| every | 0.25 |",
        "| deep.one.a | 1 |",
        "",
        "`recall`",
        "",
        "|  | paper | fast |",
        "|---|---|---|",
        "| demo | 1.0 | 0.9 |",
        "| photographs | 0.5 |  |",
    ]
