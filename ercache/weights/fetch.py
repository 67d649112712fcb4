"""Download the files of a checkpoint, and check them before they enter the folder of checkpoints."""

import os
import tempfile
from pathlib import Path
from typing import Final

from ercache.errors import ErcacheError, WeightsError, WorkError
from ercache.weights.checkpoint import Checkpoint
from ercache.weights.folder import absent_error, read_record, remedy, weights_folder
from ercache.weights.ingest import add
from ercache.weights.table import checkpoint

FULL_COMMIT: Final = 40


def fetch(key: str) -> list[Path]:
    """Download the files of a checkpoint at the revision in the table, check them, and add them.

    Two environment variables change this: if `HF_HUB_OFFLINE` is set, nothing is downloaded from any source;
    `HF_ENDPOINT` is the address of a hub to use in place of huggingface.co.

    Returns:
        Paths of the added files.

    Raises:
        WeightsError: ercache cannot download this checkpoint, or the sha256 of a downloaded file differs from the one
            in the table of checkpoints or in `record.json`.
        WorkError: the download failed. The message names source, size and licence; the hint says what to do instead.
    """
    row = checkpoint(key)
    if row.refused:
        raise absent_error(row)
    if row.kind not in ("hub", "web"):
        raise WeightsError(
            f"checkpoint {key!r} cannot be downloaded by ercache ({row.described})",
            hint=remedy(row),
        )
    names = " ".join(file.name for file in row.files)
    by_hand = f"download the files on another machine, then: ercache weights add {key} {names}"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise WorkError(
            f"checkpoint {key!r} was not downloaded: HF_HUB_OFFLINE is set ({row.described})", hint=by_hand
        )
    folder = weights_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as temporary:
        try:
            commit, files = (_from_hub if row.kind == "hub" else _from_web)(row, Path(temporary))
        except ErcacheError:
            raise
        except Exception as error:  # every client has its own exceptions for a failed download
            reason = (str(error).strip().splitlines() or [""])[0]
            raise WorkError(
                f"checkpoint {key!r} was not downloaded: {type(error).__name__}: {reason} ({row.described})",
                hint=by_hand,
            ) from error
        return add(key, files, commit)


def _from_hub(row: Checkpoint, folder: Path) -> tuple[str, list[Path]]:
    from huggingface_hub import HfApi, hf_hub_download

    endpoint = os.environ.get("HF_ENDPOINT")
    api = HfApi(endpoint=endpoint)
    commit = row.revision or read_record(row).revision
    if commit and len(commit) < FULL_COMMIT:
        commits = [c.commit_id for c in api.list_repo_commits(row.source)]
        found = [one for one in commits if one.startswith(commit)]
        if len(found) != 1:
            raise WorkError(
                f"{row.source}: {len(found)} commits begin with {commit}, so the revision of checkpoint {row.key!r} is "
                "ambiguous or wrong",
                hint="write the whole commit into the row of this checkpoint, in ercache/weights/catalogue.py or in "
                "the file that ERCACHE_CHECKPOINTS names",
            )
        commit = found[0]
    info = api.model_info(row.source, revision=commit or None)
    commit = str(info.sha)
    listed = {file.rfilename for file in info.siblings or ()}
    chosen = [next((name for name in file.names if name in listed), file.path) for file in row.files]
    return commit, [
        Path(hf_hub_download(row.source, name, revision=commit, local_dir=folder, endpoint=endpoint))
        for name in chosen
    ]


def _from_web(row: Checkpoint, folder: Path) -> tuple[str, list[Path]]:
    from torch.hub import download_url_to_file

    names = [""] if row.source.endswith(".zip") else [file.path for file in row.files]
    files = []
    for name in names:
        url = f"{row.source}/{name}".rstrip("/")
        target = folder / url.rsplit("/", 1)[-1]
        download_url_to_file(url, str(target), progress=False)
        files.append(target)
    return "", files
