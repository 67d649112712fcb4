"""Naive extraction, as published code usually does it: encoder by encoder, clip by clip. Reference of bench/extract.py.

What makes it naive, as in published extraction scripts:

- Every encoder has its own pass over the corpus, which decodes each clip again and finds the faces again.
- Video is decoded from the first to the last frame; then the needed frames are picked.
- ffmpeg writes the audio of each clip to a wav file at the encoder's sampling rate.
- facenet-pytorch's MTCNN with its defaults finds the faces, frame by frame.
- Networks run on one clip at a time. Each clip and encoder gives one pickle.

Why the comparison is fair:

- Encoders, params, networks, precision (float32), frames and spans of audio are those of ercache.
- Only the needed frames are converted to RGB. PyAV decodes in the same process with as many threads as it likes. For
  audio, ffmpeg skips the video.
- Each network is loaded once for each encoder, and runs in eval and inference mode. torch uses all cores (`threads`).
- No result is computed twice for one encoder. There is no store, digest, checksum or flush to disk, as ercache has.
- A clip that cannot be read is tried once and then skipped.

For a corpus of sound files (`extract_sounds`), the script is one loop in one process: soundfile reads each file once,
librosa resamples it for each encoder, and all features are computed from it. Clips are whole files; cutting clips out
of longer files is not measured.
"""

import pickle
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import av
import imageio_ffmpeg
import numpy as np

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Missing, Reason
from extract.encoders.base import Sample
from extract.engine.plan import Feature
from extract.media.probe import probe
from extract.media.types import Faces, FloatArray, Frame, PictureRequest
from extract.media.video import instants, shown_at

Result = TypeVar("Result")


@dataclass(frozen=True)
class NaiveClip:
    """An utterance as published code stores it: a text, and its own video and audio file (None if it has none)."""

    id: str
    text: str | None
    video: Path | None
    audio: Path | None


@dataclass
class Account:
    """What a naive extraction did, and how long it took.

    Attributes:
        threads: number of threads that torch uses.
        written: number of files written.
        seconds: stage (load, decode, faces, encode, write) -> seconds of wall clock.
        missing: for each missing result, a line `feature clip: reason`.
    """

    threads: int = 0
    written: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def timed(self, stage: str, work: Callable[[], Result]) -> Result:
        """Return the result of the function `work`; add the seconds that it took to a stage (such as `decode`)."""
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


def extract(clips: Sequence[NaiveClip], features: Sequence[Feature], out: Path, limits: Limits) -> Account:
    """Extract features the naive way: one pass over all clips for each feature, one pickle for each clip and feature.

    Args:
        clips: the clips.
        features: the features to extract.
        out: output folder; gets one subfolder for each feature.
        limits: limits per clip, such as its longest duration.
    """
    import torch

    account = Account(torch.get_num_threads())
    for feature in features:
        folder = out / feature.name
        folder.mkdir(parents=True)
        encoder = account.timed("load", lambda f=feature: f.build("cpu"))  # type: ignore[misc]
        finder = account.timed("load", load_finder) if feature.input.faces else None
        for clip in clips:
            try:
                sample = read_sample(clip, feature, finder, account, folder, limits)
                result = account.timed("encode", lambda s=sample, e=encoder: e.encode([s])[0])  # type: ignore[misc]
                if isinstance(result, Missing):
                    raise result
            except Missing as missing:
                account.missing.append(f"{feature.name} {clip.id}: {missing.reason} {missing.detail}")
                continue
            path = folder / f"{clip.id}.pkl"
            account.timed("write", lambda p=path, a=result.arrays: p.write_bytes(pickle.dumps(a)))  # type: ignore[misc]
            account.written += 1
    return account


def extract_sounds(clips: Sequence[NaiveClip], features: Sequence[Feature], out: Path) -> Account:
    """Extract features of sound files in one loop over the files; writes one pickle for each file and feature.

    Args:
        clips: the clips; each has a sound file of its own.
        features: the features to extract.
        out: output folder; gets one subfolder for each feature.
    """
    import librosa
    import soundfile

    account = Account()
    encoders = {f.name: account.timed("load", partial(f.build, "cpu")) for f in features}
    for name in encoders:
        (out / name).mkdir(parents=True)
    for clip in clips:
        try:
            read = partial(soundfile.read, given(clip.audio), dtype="float32")
            own, rate = account.timed("decode", read)
        except (Missing, soundfile.LibsndfileError) as error:
            account.missing.append(f"all {clip.id}: {Reason.UNREADABLE} {error}")
            continue
        own = own.mean(axis=1) if own.ndim > 1 else own
        for feature in features:
            resample = partial(librosa.resample, own, orig_sr=rate, target_sr=feature.input.rate)
            sample = Sample(sound=account.timed("decode", resample))
            result = account.timed("encode", partial(encoders[feature.name].encode, [sample]))[0]
            if isinstance(result, Missing):
                account.missing.append(f"{feature.name} {clip.id}: {result.reason} {result.detail}")
                continue
            path = out / feature.name / f"{clip.id}.pkl"
            account.timed("write", partial(path.write_bytes, pickle.dumps(result.arrays)))
            account.written += 1
    return account


def load_finder() -> Any:
    """Load the face detector of the naive script: facenet-pytorch's MTCNN with its defaults, but it keeps all faces."""
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True)


def read_sample(
    clip: NaiveClip, feature: Feature, finder: Any, account: Account, folder: Path, limits: Limits
) -> Sample:
    """Read the input of one feature's encoder from a clip: text, audio, or frames with faces.

    Raises:
        Missing: the clip has no such file, or the file cannot be read.
    """
    wants = feature.input
    if wants.rate:
        rate, path = wants.rate, given(clip.audio)
        sound = account.timed("decode", lambda: read_sound(path, rate, folder / "sound.wav"))
        return Sample(text=clip.text, sound=sound)
    if wants.pictures:
        kind, path = wants.pictures, given(clip.video)
        frames = account.timed("decode", lambda: read_pictures(path, kind, limits))
        if finder is not None:
            frames = account.timed("faces", lambda: [with_faces(frame, finder) for frame in frames])
        return Sample(text=clip.text, frames=tuple(frames))
    return Sample(text=clip.text)


def given(path: Path | None) -> Path:
    """Return `path`, the video or audio file of a clip, and make sure that it is not None.

    Raises:
        Missing: `path` is None, because the clip has no such file.
    """
    if path is None:
        raise Missing(Reason.ABSENT)
    return path


def read_pictures(path: Path, kind: PictureRequest, limits: Limits) -> list[Frame]:
    """Decode all frames of a video, and return those that the encoder needs, in full size.

    Raises:
        Missing: the file has no video or cannot be read.
    """
    facts = probe(path, limits)
    if not facts.frame_times.size:
        raise Missing(Reason.NO_VIDEO)
    at = instants(kind, facts.frame_times, facts.key_times, MediaRef(path.name), limits.duration)
    wanted = shown_at(facts.frame_times, at)
    frames: dict[float, Frame] = {}
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            picture: Any
            for picture in container.decode(stream):
                if picture.time is None:
                    continue
                seconds = float(picture.time) - facts.origin
                nearest = float(wanted[np.abs(wanted - seconds).argmin()])
                if abs(nearest - seconds) < 1e-4:
                    frames[nearest] = Frame(nearest, picture.to_ndarray(format="rgb24"))
    except av.error.FFmpegError as error:
        if not frames:
            raise Missing(Reason.UNREADABLE, str(error)) from error
    return list(frames.values())


def with_faces(frame: Frame, finder: Any) -> Frame:
    """Return the frame with the boxes and points of the faces that facenet-pytorch detects in it."""
    boxes, scores, points = finder.detect(frame.image, landmarks=True)
    if boxes is None:
        return frame
    found = [np.asarray(array, np.float32) for array in (boxes, scores, points)]
    return Frame(frame.time, frame.image, Faces(*found))


def read_sound(path: Path, rate: int, wav: Path) -> FloatArray:
    """Read audio as mono at a sampling rate; ffmpeg first converts it to the file `wav`.

    Raises:
        Missing: ffmpeg cannot read the audio.
    """
    import soundfile

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i", f"file:{path}"]
    command += ["-vn", "-ac", "1", "-ar", str(rate), str(wav)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing(Reason.UNREADABLE, done.stderr.strip())
    sound: FloatArray = soundfile.read(wav, dtype="float32")[0]
    return sound
