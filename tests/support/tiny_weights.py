"""Tiny checkpoints for command line tests. They replace every checkpoint whose files state the size of the network."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from transformers import MPNetConfig, RobertaConfig

from extract.encoders import ENCODERS
from extract.encoders.text.kwrt import KwrtKind
from extract.encoders.text.mpnet import MpnetKind
from extract.encoders.text.roberta import RobertaKind
from tests.support import tiny_audio, tiny_texts, tiny_visual
from tests.support.checkpoints import tiny_checkpoint

SOUNDS: Final = tuple(
    key
    for key, kind in ENCODERS.items()
    if isinstance(kind, tiny_audio.SpeechKind) or key in ("audio/whisper-small", "audio/mel-vit")
)
TEXTS: Final = tuple(
    key
    for key, kind in ENCODERS.items()
    if isinstance(kind, RobertaKind | MpnetKind | KwrtKind) and kind.spec.weights
)
KEYS: Final = (*SOUNDS, *TEXTS, "visual/clip-b32")


@contextmanager
def tiny_weights(folder: Path) -> Iterator[None]:
    """Context manager: make these checkpoints, with full width and one or two layers. Child processes see them, too."""
    with ExitStack() as stack:
        for key in SOUNDS:
            network, _, files, rename = tiny_audio.network_of(key)
            tensors = {rename(name): tensor for name, tensor in network.state_dict().items()}
            stack.enter_context(tiny_checkpoint(str(ENCODERS[key].spec.weights), folder, tensors, files))
        _, tensors, files = tiny_visual.MAKERS["clip"](folder)
        stack.enter_context(tiny_checkpoint("clip-b32", folder, tensors, files))
        widths = {str(ENCODERS[key].spec.weights): ENCODERS[key].shape.width for key in TEXTS}  # type: ignore[attr-defined]
        for name, width in widths.items():
            config: type[RobertaConfig] | type[MPNetConfig] = (
                MPNetConfig if "mpnet" in name else RobertaConfig
            )
            stack.enter_context(tiny_texts.one(folder, name, tiny_texts.sized(config, width)))
        yield
