"""Benchmark of face detection: frames per second, and recall of the main face, compared with facenet-pytorch.

The reference is `MTCNN().detect` of facenet-pytorch with its defaults, on the same frames. Its speed is measured with
one picture in each call and with all pictures in one call; the faster way counts.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ercache.errors import UsageError
from ercache.manifest import MediaRef
from ercache.params.load import load_params
from ercache.params.schema import FacePolicy, Limits
from extract.corpora.demo.generator import generate
from extract.faces.mtcnn import FaceFinder
from extract.faces.tracking import interpolate_faces, iou_matrix
from extract.media import Span, read_spans
from extract.media.types import Faces, Frame, PictureRequest
from extract.media.video import grid

PAPER = FacePolicy(
    min_face_size=20, min_face_share=0, factor=0.709, resize="area", overlap=0.7, min_probability=0.7
)  # facenet-pytorch's defaults
FORTY = PAPER.model_copy(update={"min_face_size": 40, "min_probability": 0.9})
EVERY = 0.25  # seconds between detections when faces are followed
CREMAD = Path(__file__).resolve().parents[1].parent / "shared" / "media" / "cremad"
SMALL = {"1_of_8": 1 / 8, "1_of_10": 1 / 10, "1_of_12": 1 / 12, "1_of_16": 1 / 16, "1_of_20": 1 / 20}
THINNED = 5  # recall is measured on every fifth frame
FOLLOWED = 3  # clips of a source for which faces are followed on all frames
TIMED = 16  # frames of a source in a timing
ROUNDS = 3

Image = NDArray[np.uint8]
Finder = Callable[[Sequence[Image]], list[Faces]]
Frames = tuple[Frame, ...]  # of a clip, in order of time


def measure(folder: Path) -> dict[str, Any]:
    """Measure every face policy (settings of face detection): recall of the main face, and frames per second.

    Recall is measured on frames of demo clips and real clips, on photographs, and on pictures with small faces. Speed
    is measured with one and two threads.

    Args:
        folder: scratch folder for the generated demo clips.

    Returns:
        Figures for docs/benchmarks.json.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine two threads would wait for each other
    finders = {name: FaceFinder(policy).find for name, policy in policies().items()}
    clips = {"demo": demo_clips(folder / "demo"), **({"cremad": real_clips()} if CREMAD.is_dir() else {})}
    pictures = {name: [f.image for clip in some for f in clip][::THINNED] for name, some in clips.items()}
    pictures |= {"photographs": photographs(), **{f"small_{k}": small_faces(v) for k, v in SMALL.items()}}
    figures: dict[str, Any] = {"every": EVERY, "policies": {k: p.model_dump() for k, p in policies().items()}}
    figures["frames"] = {name: len(images) for name, images in pictures.items()}
    figures["recall"] = {name: recalls(finders, images) for name, images in pictures.items()}
    for name, some in clips.items():
        figures["recall"][name]["default_tracked"] = recall_when_followed(finders["default"], some[:FOLLOWED])
    clips["full_hd"] = [full_hd()]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        figures[f"threads_{threads}"] = {name: speeds(finders, some) for name, some in clips.items()}
    torch.set_num_threads(before)
    return figures


def policies() -> dict[str, FacePolicy]:
    """Return the settings of face detection (policies) to compare: name -> policy; `default` is that of params.yaml."""
    return {"paper": PAPER, "forty": FORTY, "default": load_params().faces}


def demo_clips(root: Path) -> list[Frames]:
    """Decode all readable clips of a tiny demo corpus; return the frames of each clip.

    Args:
        root: folder of the demo corpus; generated if it is missing.
    """
    generate(root, size="tiny")
    return all_frames(sorted(root.rglob("*.mp4")))


def real_clips() -> list[Frames]:
    """Decode the CREMA-D clips in the folder `shared` beside the project; return the frames of each clip."""
    return all_frames(sorted(CREMAD.glob("*.flv")))


def all_frames(paths: Sequence[Path]) -> list[Frames]:
    """Decode the video files at these paths; return all frames of each file. Unreadable files are left out."""
    every = PictureRequest(count=400)  # more than a clip has
    read = [read_spans(path, [Span(MediaRef(path.name), (every,))], Limits())[0] for path in paths]
    clips = [clip.pictures[every] for clip in read if clip.no_pictures is None]
    if not clips:
        raise UsageError(
            f"none of the {len(paths)} clips can be read",
            hint="run `ercache doctor` to see whether FFmpeg is installed",
        )
    return clips


def photograph(name: str) -> Image:
    """Load a sample photograph of scikit-image, such as `astronaut`, as an RGB picture."""
    from skimage import data

    picture: Image = getattr(data, name)()
    return picture if picture.ndim == 3 else np.stack([picture] * 3, -1)


def photographs() -> list[Image]:
    """Return eight pictures with one face: three versions of one photograph, another photograph, and all mirrored."""
    astronaut, camera = photograph("astronaut"), photograph("camera")
    sizes = [astronaut, astronaut[::2, ::2], astronaut[:300, 80:400], camera]
    return [np.ascontiguousarray(picture) for size in sizes for picture in (size, size[:, ::-1])]


def small_faces(share: float, count: int = 8) -> list[Image]:
    """Make pictures of 480 x 360 pixels with one small face at a random place.

    Args:
        share: height of the face, as a fraction of the picture's height.
        count: number of pictures.
    """
    from PIL.Image import fromarray

    face = photograph("astronaut")[:256, 100:356]  # its face is 97 pixels, 0.38 of this side
    side = round(share * 360 / 0.38)
    small = np.asarray(fromarray(face).resize((side, side)))
    rng = np.random.default_rng(0)
    pictures = []
    for n in range(count):
        picture = np.full((360, 480, 3), 96, np.uint8)
        top, left = rng.integers(360 - side + 1), rng.integers(480 - side + 1)
        picture[top : top + side, left : left + side] = small if n % 2 else small[:, ::-1]
        pictures.append(picture)
    return pictures


def full_hd(count: int = 6) -> Frames:
    """Make noisy frames of 1920 x 1080 pixels with one face, two fifths of the picture's height."""
    from PIL.Image import fromarray

    large = np.asarray(fromarray(photograph("astronaut")).resize((1920, 1920)))[:1080]
    rng = np.random.default_rng(0)
    noise = rng.integers(-7, 8, (count, *large.shape), np.int16)
    images = np.clip(large.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return tuple(Frame(n / 25, image) for n, image in enumerate(images))


def reference(images: Sequence[Image]) -> list[NDArray[np.float32]]:
    """Find the main (largest) face of each picture with facenet-pytorch.

    Returns:
        For each picture, the box of this face as an array [1, 4] in pixels (left, top, right, bottom); an empty array
        [0, 4] if the picture has no face.
    """
    import torch

    detector, found = facenet(), []
    with torch.inference_mode():
        for image in images:
            boxes = detector.detect(image)[0]
            boxes = np.empty((0, 4), np.float32) if boxes is None else np.asarray(boxes, np.float32)
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
            found.append(boxes[np.argsort(-areas)[:1]])
    return found


def facenet() -> Any:
    """Build the reference face detector: facenet-pytorch's MTCNN with its defaults, but it keeps all faces."""
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True)


def recalls(finders: Mapping[str, Finder], images: Sequence[Image]) -> dict[str, float]:
    """Compute the recall of the main face for each face policy on the same pictures.

    Args:
        finders: name of the policy -> face detector.
        images: the pictures.

    Returns:
        Name of the policy -> recall, 0 to 1. The main faces are those that facenet-pytorch finds.
    """
    expected = reference(images)
    return {name: recall(find(images), expected) for name, find in finders.items()}


def recall_when_followed(find: Finder, clips: Sequence[Frames]) -> float:
    """Compute the recall of the main face over all frames of clips, if faces are detected on only some frames.

    On the frames between them, the boxes of the faces are interpolated.
    """
    rows = [row for clip in clips for row in follow(find, clip, EVERY)]
    return recall(rows, reference([frame.image for clip in clips for frame in clip]))


def recall(found: Sequence[Faces], expected: Sequence[NDArray[np.float32]]) -> float:
    """Return the share of main faces that were found, 0 to 1.

    A main face is found if a box overlaps it with an IoU (intersection over union) of at least 0.5.

    Args:
        found: the faces found in each frame.
        expected: box of the main face of each frame, [1, 4]. A frame without a face has an empty array [0, 4] and does
            not count.
    """
    hits = [
        bool((iou_matrix(box, row.boxes) >= 0.5).any())
        for row, box in zip(found, expected, strict=True)
        if len(box)
    ]
    return round(float(np.mean(hits)), 4)


def follow(find: Finder, clip: Frames, every: float) -> list[Faces]:
    """Find the faces on all frames of a clip: detect faces at regular times, and interpolate the boxes in between.

    Where interpolation fails, faces are detected in that frame, too.

    Args:
        find: the face detector.
        clip: frames of the clip, in order of time.
        every: seconds between two detections.
    """
    times = np.array([frame.time for frame in clip])
    instants = grid(times[0], times[-1] + float(np.median(np.diff(times))), every)
    shown = np.unique(np.searchsorted(times, instants + 1e-6, side="right") - 1)
    rows = interpolate_faces(times[shown], find([clip[n].image for n in shown]), times)
    lost = [n for n, row in enumerate(rows) if row is None]
    again = dict(zip(lost, find([clip[n].image for n in lost]), strict=True))
    return [again[n] if row is None else row for n, row in enumerate(rows)]


def speeds(finders: Mapping[str, Finder], clips: Sequence[Frames]) -> dict[str, Any]:
    """Measure frames per second of each face policy and of facenet-pytorch (best of several rounds).

    Returns:
        Two dicts. `frames_per_second`: name of a face policy, or of a way to call facenet-pytorch (one picture in each
        call, or all in one call) -> speed. `over_facenet`: name of a face policy -> its speed divided by the speed of
        the faster way to call facenet-pytorch.
    """
    import torch

    detector = facenet()
    pictures = [frame.image for clip in clips for frame in clip]
    some = pictures[:: max(1, len(pictures) // TIMED)]
    few = clips[:FOLLOWED]
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "facenet_single": (lambda: [detector.detect(image) for image in some], len(some)),
        "facenet_batched": (lambda: detector.detect(np.stack(some)), len(some)),
        **{name: (partial(find, some), len(some)) for name, find in finders.items()},
        "default_tracked": (
            lambda: [follow(finders["default"], clip, EVERY) for clip in few],
            sum(map(len, few)),
        ),
    }
    best = dict.fromkeys(ways, float("inf"))
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for name, (work, _frames) in ways.items():
                began = time.perf_counter()
                work()
                best[name] = min(best[name], time.perf_counter() - began)
    rates = {name: frames / best[name] for name, (_work, frames) in ways.items()}
    peer = max(rates["facenet_single"], rates["facenet_batched"])
    return {
        "frames_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "over_facenet": {n: round(rate / peer, 2) for n, rate in rates.items() if n not in list(rates)[:2]},
    }
