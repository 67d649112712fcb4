"""Stand-ins for the encoders of the papers: networks of full size with random weights, for benchmarks only.

They cost what the real ones cost and tell nothing about emotion: `weights` in their features says
`random`, and so does the provenance of what they make. `text/random-roberta-large` cuts a text
into words and marks and numbers them by a hash, because no vocabulary is at hand (a real one gives about a third more
tokens). `audio/random-passt` is transformers' Audio Spectrogram Transformer with PaSST's front end: the same 12 layers,
16 x 16 patches every 10 and two leading tokens; its positions are one table instead of two.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params import FacePolicy, Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights, provenance
from extract.encoders import ENCODERS
from extract.encoders.base import (
    Encoded,
    EncoderKind,
    EncoderSpec,
    FloatArray,
    Input,
    Modality,
    Pictures,
    Sample,
)
from extract.encoders.crops import chosen_box, crop_face
from extract.encoders.mfcc import unusable
from extract.engine.plan import Feature

if TYPE_CHECKING:
    from torch import Tensor, nn

RANDOM: Final[dict[str, Any]] = {"random": True, "seed": 0, "id": "stand-in"}
SIDE: Final = 224
CPU_IMAGES: Final = 8  # of a forward: more fall out of the processor's cache
GPU_IMAGES: Final = 256


def wav2vec2() -> "nn.Module":
    """wav2vec2-large-robust: layer norm in the convolutions, 24 stable layers of 1024."""
    from transformers.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(
        Wav2Vec2Config(
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            feat_extract_norm="layer",
            conv_bias=True,
            do_stable_layer_norm=True,
        )
    )


def passt() -> "nn.Module":
    """PaSST's transformer: 128 mel bands, up to 1000 spectra (10 s)."""
    from transformers.models.audio_spectrogram_transformer import ASTConfig, ASTModel

    return ASTModel(ASTConfig(max_length=1000))


def roberta() -> "nn.Module":
    """RoBERTa-large without its pooler, which was never trained."""
    from transformers.models.roberta import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=50265,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    return RobertaModel(config, add_pooling_layer=False)


def resnet18() -> "nn.Module":
    """torchvision's, with the head of 1000 classes."""
    from torchvision.models import resnet18 as build

    network: nn.Module = build(weights=None)
    return network


def random_network(build: Callable[[], "nn.Module"], device: str) -> "nn.Module":
    """A network in eval mode with uniform weights within 1 / sqrt(fan in), and norms that scale by 1.

    The library's own initialisation takes ten seconds for 300 million normal deviates, several times what reading a
    checkpoint takes; a benchmark with few clips would measure little else.
    """
    import torch
    from transformers.initialization import no_init_weights

    with no_init_weights():
        network = build()
    generator = torch.Generator().manual_seed(RANDOM["seed"])
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim < 2:
                weight.fill_(float(name.endswith(".weight")))
            else:
                bound = (len(weight) / weight.numel()) ** 0.5
                weight.uniform_(-bound, bound, generator=generator)
    return network.eval().to(device)


def apart(
    samples: Sequence[Sample],
    fault: Callable[[Sample], Missing | None],
    forward: Callable[[list[Sample]], Iterable[Encoded]],
) -> list[Encoded | Missing]:
    """Samples in order: those without fault go through one forward."""
    faults = [fault(sample) for sample in samples]
    good = [sample for sample, bad in zip(samples, faults, strict=True) if bad is None]
    results = iter(forward(good) if good else ())
    return [bad or next(results) for bad in faults]


def sized(values: "Tensor") -> FloatArray:
    """A tensor as float32 on the host."""
    return np.asarray(values.float().cpu().numpy(), np.float32)


def facts(key: str, modality: Modality, summary: str, rule: Any) -> EncoderSpec:
    """Facts that all stand-ins share."""
    return EncoderSpec(key, modality, summary, rule, 1, "none: random weights")


def vector(width: int) -> ArraySpec:
    """The array of one vector for an utterance."""
    return ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))


class NoSwitches(Strict):
    """Params of a stand-in that has none."""


class Wav2Vec2:
    """`frames` every 20 ms and `pooled`, their mean; every clip is normalised alone, before it is padded."""

    Params: ClassVar[type[BaseModel]] = NoSwitches
    spec: ClassVar[EncoderSpec] = facts("audio/random-wav2vec2", "audio", "wav2vec2-large-robust", "mask")

    def __init__(self, params: NoSwitches, device: str = "cpu", weights: Weights | None = None) -> None:
        self.device, self._network = device, random_network(wav2vec2, device)

    @staticmethod
    def input(params: NoSwitches) -> Input:
        """Sound at 16 kHz."""
        return Input(rate=16_000)

    @staticmethod
    def arrays(params: NoSwitches) -> tuple[ArraySpec, ...]:
        """`pooled` and `frames` [T, 1024]."""
        return (vector(1024), ArraySpec("frames", "sequence", ("20ms", "dimension"), (1024,)))

    def length(self, sample: Sample) -> int:
        """Samples of sound."""
        return 0 if sample.sound is None else len(sample.sound)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode sounds in one padded batch."""
        return apart(samples, lambda s: unusable(s.sound, 400), self._forward)

    def _forward(self, samples: list[Sample]) -> Iterable[Encoded]:
        import torch

        longest = max(map(self.length, samples))
        padded, mask = torch.zeros(2, len(samples), longest)
        for n, sample in enumerate(samples):
            sound = torch.as_tensor(sample.sound)
            padded[n, : len(sound)] = (sound - sound.mean()) / (sound.var(correction=0) + 1e-7).sqrt()
            mask[n, : len(sound)] = 1
        network: Any = self._network
        with torch.inference_mode():
            output = network(padded.to(self.device), attention_mask=mask.long().to(self.device))
        counts = network._get_feat_extract_output_lengths(mask.sum(1).long()).tolist()
        for states, count in zip(sized(output.last_hidden_state), counts, strict=True):
            frames = states[:count]
            yield Encoded({"pooled": frames.mean(0, keepdims=True), "frames": frames}, count)


class Passt:
    """`pooled` is the mean of the class and the distillation token; of a longer clip the mean over 10 s windows."""

    Params: ClassVar[type[BaseModel]] = NoSwitches
    spec: ClassVar[EncoderSpec] = facts("audio/random-passt", "audio", "PaSST-S", "equal")
    window: ClassVar[int] = 320_000

    def __init__(self, params: NoSwitches, device: str = "cpu", weights: Weights | None = None) -> None:
        import torchaudio

        self.device, self._network = device, random_network(passt, device)
        self._mel = torchaudio.transforms.MelSpectrogram(
            32_000, 1024, 800, 320, f_max=15_000.0, n_mels=128
        ).to(device)

    @staticmethod
    def input(params: NoSwitches) -> Input:
        """Sound at 32 kHz."""
        return Input(rate=32_000)

    @staticmethod
    def arrays(params: NoSwitches) -> tuple[ArraySpec, ...]:
        """`pooled`."""
        return (vector(768),)

    def length(self, sample: Sample) -> int:
        """Samples of sound."""
        return 0 if sample.sound is None else len(sample.sound)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode sounds of one length in a forward."""
        return apart(samples, lambda s: unusable(s.sound, 4_820), self._forward)

    def _forward(self, samples: list[Sample]) -> Iterable[Encoded]:
        import torch

        places = windows(self.length(samples[0]), self.window)
        cuts = [torch.as_tensor(s.sound)[place] for s in samples for place in places]
        with torch.inference_mode():
            states = self._states(torch.stack(cuts).to(self.device))
        pooled = sized(states[:, :2].mean(1)).reshape(len(samples), len(places), -1).mean(1)
        return [Encoded({"pooled": row[None]}, len(places)) for row in pooled]

    def _states(self, sound: "Tensor") -> "Tensor":
        """Token states [B, 2 + 12 * W, 768]; positions are taken from the front of each band's 99."""
        import torch

        network: Any = self._network
        mel = self._mel(sound[:, 1:] - 0.97 * sound[:, :-1])  # [B, 128, T]
        patches = network.embeddings.patch_embeddings.projection(((mel + 1e-5).log()[:, None] + 4.5) / 5)
        table = network.embeddings.position_embeddings
        places = table[:, 2:].unflatten(1, (patches.shape[2], -1))[:, :, : patches.shape[3]].flatten(1, 2)
        first = torch.cat([network.embeddings.cls_token, network.embeddings.distillation_token], 1)
        first = (first + table[:, :2]).expand(len(patches), -1, -1)
        states = torch.cat([first, patches.flatten(2).mT + places], 1)
        for layer in network.layers:
            states = layer(states, None)
        result: Tensor = network.layernorm(states)
        return result


def windows(length: int, longest: int) -> list[slice]:
    """The fewest stretches of one size that cover a length, evenly spread."""
    count, size = max(1, -(-length // longest)), min(length, longest)
    return [slice(int(n), int(n) + size) for n in np.linspace(0, length - size, count)]


class Roberta:
    """`tokens` and `pooled`, their mean, both without the marks of beginning and end."""

    Params: ClassVar[type[BaseModel]] = NoSwitches
    spec: ClassVar[EncoderSpec] = facts("text/random-roberta-large", "text", "RoBERTa-large", "mask")

    def __init__(self, params: NoSwitches, device: str = "cpu", weights: Weights | None = None) -> None:
        self.device, self._network = device, random_network(roberta, device)

    @staticmethod
    def input(params: NoSwitches) -> Input:
        """The transcript."""
        return Input(text=True)

    @staticmethod
    def arrays(params: NoSwitches) -> tuple[ArraySpec, ...]:
        """`pooled` and `tokens` [T, 1024]."""
        return (vector(1024), ArraySpec("tokens", "sequence", ("token", "dimension"), (1024,)))

    def length(self, sample: Sample) -> int:
        """Tokens, with the marks of beginning and end."""
        return len(token_ids(sample.text or ""))

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode texts in one padded batch."""
        return apart(samples, self._fault, self._forward)

    def _fault(self, sample: Sample) -> Missing | None:
        return Missing(Reason.NO_TEXT) if self.length(sample) == 2 else None

    def _forward(self, samples: list[Sample]) -> Iterable[Encoded]:
        import torch

        ids = [torch.tensor(token_ids(sample.text or "")) for sample in samples]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=1).to(self.device)
        with torch.inference_mode():
            output = self._network(input_ids=padded, attention_mask=(padded != 1).long())
        for states, own in zip(sized(output.last_hidden_state), ids, strict=True):
            tokens = states[1 : len(own) - 1]
            yield Encoded({"pooled": tokens.mean(0, keepdims=True), "tokens": tokens}, len(tokens))


def token_ids(text: str) -> list[int]:
    """Words and marks of a text as numbers of RoBERTa's table, at most 512 with beginning (0) and end (2)."""
    words = re.findall(r"\w+|[^\w\s]", text)[:510]
    return [0, *(4 + zlib.crc32(word.encode()) % 50_000 for word in words), 2]


class PictureParams(Strict):
    """Pictures looked at, spread evenly over the clip."""

    frames: int = Field(8, ge=1)


def through(network: "nn.Module", pictures: Sequence["Tensor"], device: str) -> FloatArray:
    """Pictures [3, 224, 224] through a network, a bounded number at once."""
    import torch

    step = CPU_IMAGES if device == "cpu" else GPU_IMAGES
    with torch.inference_mode():
        parts = [
            sized(network(torch.stack(list(pictures[n : n + step])).to(device)))
            for n in range(0, len(pictures), step)
        ]
    return np.concatenate(parts)


def picture_results(pictures: Sequence[Sequence["Tensor"]], values: FloatArray) -> Iterable[Encoded]:
    """Rows of all pictures back to their clips."""
    ends = np.cumsum([len(own) for own in pictures])
    for rows in np.split(values, ends[:-1]):
        yield Encoded({"pooled": rows.mean(0, keepdims=True), "frames": rows}, len(rows))


def picture_arrays() -> tuple[ArraySpec, ...]:
    """Arrays of both ResNet18s."""
    return (vector(512), ArraySpec("frames", "sequence", ("frame", "dimension"), (512,)))


def headless() -> "nn.Module":
    """ResNet18 up to its pool."""
    from torch import nn

    network = resnet18()
    network.fc = nn.Identity()
    return network


class Faces:
    """ResNet18 on the largest face of each picture, resized to 224 x 224."""

    Params: ClassVar[type[BaseModel]] = PictureParams
    spec: ClassVar[EncoderSpec] = facts(
        "visual/random-resnet18-faces", "visual", "ResNet18 on faces", "equal"
    )

    def __init__(self, params: PictureParams, device: str = "cpu", weights: Weights | None = None) -> None:
        from torchvision.models import ResNet18_Weights

        self.device, self._network = device, random_network(headless, device)
        self._transform = ResNet18_Weights.IMAGENET1K_V1.transforms()
        self._transform.resize_size = [SIDE, SIDE]  # a face is not cut at chin and forehead

    @staticmethod
    def input(params: PictureParams) -> Input:
        """Pictures with their faces."""
        return Input(pictures=Pictures(params.frames), faces=True)

    @staticmethod
    def arrays(params: PictureParams) -> tuple[ArraySpec, ...]:
        """`pooled` and `frames` [T, 512] of pictures with a face."""
        return picture_arrays()

    def length(self, sample: Sample) -> int:
        """All pictures have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode the faces of all clips together."""
        crops = [self._crops(sample) for sample in samples]
        found = [own for own in crops if own]
        values = through(self._network, [c for own in found for c in own], self.device) if found else None
        results = iter(() if values is None else picture_results(found, values))
        return [next(results) if own else Missing(Reason.NO_FACE) for own in crops]

    def _crops(self, sample: Sample) -> list["Tensor"]:
        boxes = [(f.image, chosen_box(f.faces, "largest")) for f in sample.frames]
        crops = [crop_face(image, box, 0.1) for image, box in boxes if box is not None]
        return [transformed(crop, self._transform) for crop in crops if crop is not None]


class Scenes:
    """ResNet18 on the middle of each picture, whose shorter side is 256 pixels."""

    Params: ClassVar[type[BaseModel]] = PictureParams
    spec: ClassVar[EncoderSpec] = facts(
        "visual/random-resnet18-scenes", "visual", "ResNet18 on scenes", "equal"
    )

    def __init__(self, params: PictureParams, device: str = "cpu", weights: Weights | None = None) -> None:
        from torchvision.models import ResNet18_Weights

        self.device, self._network = device, random_network(headless, device)
        self._transform = ResNet18_Weights.IMAGENET1K_V1.transforms()

    @staticmethod
    def input(params: PictureParams) -> Input:
        """Pictures as the network's own transform would make them smaller."""
        return Input(pictures=Pictures(params.frames, side=256))

    @staticmethod
    def arrays(params: PictureParams) -> tuple[ArraySpec, ...]:
        """`pooled` and `frames` [T, 512]."""
        return picture_arrays()

    def length(self, sample: Sample) -> int:
        """All pictures have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode the pictures of all clips together."""
        return apart(samples, lambda s: None if s.frames else Missing(Reason.NO_VIDEO), self._forward)

    def _forward(self, samples: list[Sample]) -> Iterable[Encoded]:
        scenes = [[transformed(f.image, self._transform) for f in sample.frames] for sample in samples]
        values = through(self._network, [scene for own in scenes for scene in own], self.device)
        return picture_results(scenes, values)


def transformed(image: Any, transform: Callable[["Tensor"], "Tensor"]) -> "Tensor":
    """An RGB picture [height, width, 3] as the network wants it, [3, 224, 224]."""
    import torch

    return transform(torch.tensor(image).permute(2, 0, 1))


class MelResnet18:
    """M2FNet's extractor: the mel spectrogram as a picture, ResNet18, 300 numbers; grey stands in for viridis."""

    Params: ClassVar[type[BaseModel]] = NoSwitches
    spec: ClassVar[EncoderSpec] = facts(
        "audio/random-mel-resnet18", "audio", "ResNet18 on mel pictures", "equal"
    )
    longest: ClassVar[int] = 20 * 16_000

    def __init__(self, params: NoSwitches, device: str = "cpu", weights: Weights | None = None) -> None:
        import torchaudio
        from torchvision.models import ResNet18_Weights

        self.device, self._network = device, random_network(projected, device)
        self._mel = torchaudio.transforms.MelSpectrogram(
            16_000, 400, 400, 160, n_mels=128, norm="slaney", mel_scale="slaney"
        )
        self._transform = ResNet18_Weights.IMAGENET1K_V1.transforms()
        self._transform.resize_size = [SIDE, SIDE]

    @staticmethod
    def input(params: NoSwitches) -> Input:
        """Sound at 16 kHz."""
        return Input(rate=16_000)

    @staticmethod
    def arrays(params: NoSwitches) -> tuple[ArraySpec, ...]:
        """`pooled`."""
        return (vector(300),)

    def length(self, sample: Sample) -> int:
        """All pictures have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode the pictures of all sounds together."""
        return apart(samples, lambda s: unusable(s.sound, 400), self._forward)

    def _forward(self, samples: list[Sample]) -> Iterable[Encoded]:
        values = through(self._network, [self._picture(s.sound) for s in samples], self.device)
        return [Encoded({"pooled": row[None]}, 1) for row in values]

    def _picture(self, sound: Any) -> "Tensor":
        import torch

        power = self._mel(torch.as_tensor(sound[: self.longest]))  # [128, T]
        level = 10 * power.clamp(min=1e-10).log10()
        level = ((level - level.max()) / 80 + 1).clamp(min=0).flip(0)
        grey: Tensor = self._transform(level.expand(3, -1, -1))
        return grey


def projected() -> "nn.Module":
    """ResNet18 with a layer to 300 in place of its head."""
    from torch import nn

    network = resnet18()
    network.fc = nn.Linear(512, 300)
    return network


_STANDINS: tuple[EncoderKind, ...] = (Roberta, Wav2Vec2, Passt, MelResnet18, Faces, Scenes)
STANDINS: Final = {kind.spec.key: kind for kind in _STANDINS}
LIGHT: Final = ("visual/face-hog", "audio/mfcc", "text/minilm", "audio/prosody")
SETS: Final = {"light": LIGHT, "paper": tuple(STANDINS)}


def features(keys: Iterable[str], policy: FacePolicy | None = None) -> list[Feature]:
    """Features of stand-ins, or of our own encoders, by key, with their defaults; named by the key's second half."""
    kinds = {**ENCODERS, **STANDINS}
    found = []
    for key in keys:
        kind = kinds[key]
        params = kind.Params()
        own = provenance(kind.spec.weights) if kind.spec.weights else None
        faces = (policy or FacePolicy()) if kind.input(params).faces else None
        found.append(Feature(key.split("/")[1], kind, params, RANDOM if key in STANDINS else own, faces))
    return found
