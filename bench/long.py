"""Benchmark of a recording of several hours with thousands of utterances: extraction compared with plain decoding.

The recording repeats one minute of video with sound (a moving photograph of a face with noise; 1080p, 25 frames a
second), in one file format (container). Measured:

- decode: `ffmpeg -threads N -i FILE -f null -`, which decodes video and audio and discards them; N cores. The first 30
  minutes are decoded, and their time is scaled to the whole recording: every minute of it holds the same packets.
- scan: `ercache scan folder`, which reads every packet of the file.
- extract: `ercache extract folder` with an empty store and the default profile of params.yaml, without the features
  whose extractors must be trained first.

`over_decode` is the time of extract divided by the time of decode. Memory is summed over all processes of a command;
RSS counts shared memory several times, PSS once.

`python -m bench.long --container mkv --minutes 10 --cues 100` prints the figures of a shorter recording.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Final

import imageio_ffmpeg
import numpy as np
import typer

from bench.jobs import PROJECT, rounded, watch
from ercache.cpus import cores
from ercache.errors import WorkError
from ercache.params.load import load_params

CONTAINERS: Final = ("mp4", "mkv", "ts", "flv")
GOALS: Final = {"over_decode": 1.3, "peak_rss_mb": 3221.2}  # 3 GiB
MINUTES: Final = 180
DECODED_MINUTES: Final = 30  # of the recording, by the plain decoding that extraction is compared with
CUES: Final = 2_000
CUE: Final = 3.0  # greatest length of an utterance in seconds
SIZE: Final = "1920x1080"


def measure(
    folder: Path,
    container: str,
    minutes: int = MINUTES,
    cues: int = CUES,
    size: str = SIZE,
) -> dict[str, Any]:
    """Make a long recording in one file format (container), and measure decoding, scanning and extracting it.

    Args:
        folder: scratch folder with room for the recording.
        container: file name suffix of the format, one of `CONTAINERS`.
        minutes: length of the recording in minutes.
        cues: number of utterances in the recording.
        size: width and height of the video, such as `1920x1080`.

    Returns:
        Figures for docs/benchmarks.json.

    Raises:
        WorkError: a command failed; the message shows the end of its output.
    """
    group = folder / "minute.mp4"
    make_minute(group, size)
    path = make_project(folder / "project", container, minutes, cues)
    join(group, path, minutes)
    return {
        "minutes": minutes,
        "cues": cues,
        "size": size,
        "features": "default profile",
        "goals": GOALS,
        **rounded(measure_one(folder / "project", path, minutes)),
        "engine": load_params(PROJECT / "params.yaml").engine.model_dump(mode="json"),
    }


def make_minute(path: Path, size: str) -> None:
    """Make one minute of video that is as hard to decode as a real recording: detail, motion, noise and a voice."""
    import skimage.data
    from PIL import Image

    photograph = path.with_suffix(".png")
    Image.fromarray(skimage.data.astronaut()).save(photograph)  # type: ignore[no-untyped-call]
    width, height = map(int, size.split("x"))
    motion = f"crop={width}:{height}:'(iw-ow)/2*(1+sin(t/3))':'(ih-oh)/2*(1+sin(t/5))'"
    picture = f"scale={width * 5 // 4}:-1,{motion},noise=alls=7:allf=t,format=yuv420p"
    voice = (
        "(sin(2*PI*(120+30*sin(t))*t)+0.5*sin(2*PI*(240+60*sin(t))*t))*sin(11*t)*sin(11*t)/3+0.01*random(0)"
    )
    run_ffmpeg(
        *("-loop", "1", "-framerate", "25", "-i", str(photograph), "-f", "lavfi", "-i", f"aevalsrc={voice}:s=48000"),
        *("-t", "60", "-vf", picture, "-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-c:a", "aac", str(path)),
    )  # fmt: skip


def join(group: Path, path: Path, minutes: int) -> None:
    """Write a recording that repeats one minute of video, without encoding it again (stream copy).

    Args:
        group: the file with one minute of video.
        path: the recording to write; its suffix chooses the file format.
        minutes: length of the recording in minutes.
    """
    kind = {"ts": "mpegts", "mkv": "matroska"}.get(path.suffix[1:], path.suffix[1:])
    run_ffmpeg("-stream_loop", str(minutes - 1), "-i", str(group), "-c", "copy", "-f", kind, str(path))


def make_project(folder: Path, container: str, minutes: int, cues: int) -> Path:
    """Make a project folder with params.yaml, and a subtitle for every utterance of the recording.

    Args:
        folder: the project folder; created here.
        container: file name suffix of the recording.
        minutes: length of the recording in minutes.
        cues: number of utterances.

    Returns:
        The path at which the recording must be put.
    """
    root = folder / "media"
    (folder / "extract").mkdir(parents=True)
    root.mkdir()
    for name in ("params.yaml", "extract/versions.yaml"):
        (folder / name).write_bytes((PROJECT / name).read_bytes())
    starts = np.linspace(0, 60 * minutes, cues, endpoint=False)
    length = min(CUE, 0.9 * 60 * minutes / cues)
    lines = [
        f"{n}\n{stamp(start)} --> {stamp(start + length)}\nANN: What was said as turn {n}.\n"
        for n, start in enumerate(starts.tolist(), 1)
    ]
    (root / "talk.srt").write_text("\n".join(lines), encoding="utf-8")
    return root / f"talk.{container}"


def stamp(seconds: float) -> str:
    """Return a time in the format of srt subtitles, such as `00:01:02,500`."""
    thousandths = round(1000 * seconds)
    return (
        f"{thousandths // 3_600_000:02d}:{thousandths // 60_000 % 60:02d}:"
        f"{thousandths // 1000 % 60:02d},{thousandths % 1000:03d}"
    )


def measure_one(project: Path, path: Path, minutes: int) -> dict[str, Any]:
    """Decode, scan and extract one recording; return the seconds and the peak memory of the extraction.

    Args:
        project: the project folder.
        path: the recording.
        minutes: its length in minutes.
    """
    decoded = min(minutes, DECODED_MINUTES)
    began = time.perf_counter()
    run_ffmpeg("-threads", str(cores()), "-t", str(60 * decoded), "-i", str(path), "-f", "null", "-")
    decode = (time.perf_counter() - began) * minutes / decoded
    options = ("folder", "--root", str(path.parent), "--json")
    scan = run_ercache(project, "scan", *options)
    extract = run_ercache(project, "extract", *options, "--device", "cpu")
    answer = extract.pop("answer")
    return {
        "megabytes": path.stat().st_size / 1e6,
        "decoded_minutes": decoded,
        "decode_seconds": decode,
        "scan_seconds": scan["seconds"],
        "extract_seconds": extract["seconds"],
        "over_decode": extract["seconds"] / decode,
        "peak_rss_mb": extract["peak_rss_mb"],
        "peak_pss_mb": extract["peak_pss_mb"],
        "units": answer["done"],
        "failed": len(answer["failed"]),
    }


def run_ffmpeg(*arguments: str) -> None:
    """Run FFmpeg with these command-line arguments; existing output files are overwritten.

    Raises:
        WorkError: FFmpeg failed; the message shows the end of its output.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise WorkError(
            f"ffmpeg failed with exit status {done.returncode}; the last lines of its output say why",
            details=done.stderr.splitlines()[-20:],
        )


def run_ercache(project: Path, *arguments: str) -> dict[str, Any]:
    """Run an `ercache` command in a project folder, with a store inside this folder.

    Args:
        project: the project folder.
        arguments: command-line arguments, with `--json`.

    Returns:
        `seconds`, the time of the command; `answer`, the JSON data that it printed; `peak_rss_mb` and `peak_pss_mb`,
        the peak memory of its processes in megabytes.

    Raises:
        WorkError: the command failed; the message shows the end of its output.
    """
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "ERCACHE_STORE": str(project / "store")}
    command = [sys.executable, "-c", "from app.cli import main; main()", *arguments]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=project, env=environment, stdout=out, stderr=err) as process:
            peaks = watch(process)
            code = process.wait()
        seconds = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        if code != 0:
            raise WorkError(
                f"`ercache {arguments[0]}` failed with exit status {code}; the last lines of its output say why",
                details=err.read().splitlines()[-20:],
            )
        return {"seconds": seconds, "answer": json.loads(out.read()), **peaks}


def main(
    minutes: Annotated[int, typer.Option(min=1, help="Length of the recording in minutes.")] = MINUTES,
    cues: Annotated[int, typer.Option(min=1, help="Number of utterances in the recording.")] = CUES,
    container: Annotated[str, typer.Option(help=f"One of {', '.join(CONTAINERS)}.")] = CONTAINERS[0],
) -> None:
    """Measure decoding, scanning and extracting a recording of any length; print seconds and memory as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), container, minutes, cues), indent=1))


if __name__ == "__main__":
    typer.run(main)
