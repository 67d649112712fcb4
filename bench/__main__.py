"""Run all benchmarks and write docs/benchmarks.md and docs/benchmarks.json: figures are never edited by hand."""

import json
import os
import platform
import tempfile
from pathlib import Path

from bench import caches, texts

OUT = Path("docs")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def main() -> None:
    """Measure, write, print where."""
    with tempfile.TemporaryDirectory() as folder:
        figures = {"machine": machine(), "cache": caches.measure(Path(folder)), "text": texts.measure()}
    (OUT / "benchmarks.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; each figure is a ratio against a reference measured in the same run.",
        "",
        "Machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()) + ".",
        "",
        "| benchmark | figure | value |",
        "|---|---|---|",
    ]
    for name in ("cache", "text"):
        lines += [f"| {name} | {key} | {value} |" for key, value in figures[name].items()]  # type: ignore[union-attr]
    (OUT / "benchmarks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"figures: {OUT / 'benchmarks.md'}")


if __name__ == "__main__":
    main()
