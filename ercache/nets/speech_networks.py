"""The networks of wav2vec 2.0, HuBERT and WavLM: their sizes, norms and tensor names.

Source: docs/encoders.md#speech-networks.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Family = Literal["wav2vec2", "hubert", "wavlm"]


@dataclass(frozen=True)
class SpeechNetwork:
    """What is fixed for the network of a checkpoint.

    Attributes:
        norm: of the first convolution. `group` takes its statistics over time, so padding changes every frame and no
            mask repairs it: one clip in a forward. `layer` works on each frame: padded batches with a mask.
        bias: of the convolutions.
        stable: norms stand before attention and feed-forward, and one after the last layer.
        normalised: clips get zero mean and unit variance (`do_normalize` of the checkpoint's preprocessor).
        emotion: it has the emotion head of audEERING.
    """

    family: Family
    width: int
    layers: int
    norm: Literal["group", "layer"]
    bias: bool
    stable: bool
    normalised: bool = True
    emotion: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """The fields of its config.json in which it differs from transformers' defaults."""
        return {
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.width // 64,
            "intermediate_size": 4 * self.width,
            "feat_extract_norm": self.norm,
            "conv_bias": self.bias,
            "do_stable_layer_norm": self.stable,
        }


BASE = SpeechNetwork("wav2vec2", 768, 12, "group", bias=False, stable=False)
LARGE = SpeechNetwork("wav2vec2", 1024, 24, "group", bias=False, stable=False)
LARGE_STABLE = SpeechNetwork("wav2vec2", 1024, 24, "layer", bias=True, stable=True)
EMOTION = SpeechNetwork("wav2vec2", 1024, 12, "layer", bias=True, stable=True, emotion=True)
LARGE_HUBERT = SpeechNetwork("hubert", 1024, 24, "layer", bias=True, stable=True)
BASE_WAVLM = SpeechNetwork("wavlm", 768, 12, "group", bias=False, stable=False, normalised=False)
LARGE_WAVLM = SpeechNetwork("wavlm", 1024, 24, "layer", bias=False, stable=True)


def build(family: Family, config: dict[str, Any], emotion: bool) -> "nn.Module":
    """A network as its config.json describes it."""
    network: nn.Module
    if family == "wavlm":
        from transformers.models.wavlm.configuration_wavlm import WavLMConfig
        from transformers.models.wavlm.modeling_wavlm import WavLMModel

        network = WavLMModel(WavLMConfig.from_dict(config))
    elif family == "hubert":
        from transformers.models.hubert.configuration_hubert import HubertConfig
        from transformers.models.hubert.modeling_hubert import HubertModel

        network = HubertModel(HubertConfig.from_dict(config))
    else:
        from transformers.models.wav2vec2.configuration_wav2vec2 import Wav2Vec2Config
        from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model

        from ercache.nets.speech_emotion import SpeechEmotion

        network = (SpeechEmotion if emotion else Wav2Vec2Model)(Wav2Vec2Config.from_dict(config))
    return network


def keep_layers(network: Any, layer: int) -> None:
    """Leave out the layers above `layer`, so that the output is its: what transformers calls `hidden_states[layer]`.

    For the last layer nothing is left out: its output is `last_hidden_state`, with the norm that may stand behind it.

    Raises:
        ValueError: it has no such layer.
    """
    from torch import nn

    layers = network.encoder.layers
    if layer > len(layers):
        raise ValueError(f"layer {layer} of a network of {len(layers)}")
    if layer < len(layers):
        network.encoder.layers = layers[:layer]
        if network.config.do_stable_layer_norm:  # this norm belongs to the last layer only
            network.encoder.layer_norm = nn.Identity()


# Parts of the training that are no part of the encoder: contrastive targets of wav2vec 2.0, letters of a recogniser,
# and the vector that stands for masked frames, which wav2vec2-base's file has and wav2vec2-base-960h's has not.
UNUSED = (
    "quantizer.",
    "project_q.",
    "project_hid.",
    "lm_head.",
    "masked_spec_embed",
    "wav2vec2.masked_spec_embed",
)
UNMASKED = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}  # fields of a config: no such vector


def tensor_name(name: str) -> str:
    """The name in transformers 5 of a tensor of a published file, where a norm of a weight was called otherwise."""
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        name = name.replace(
            f"pos_conv_embed.conv.{old}", f"pos_conv_embed.conv.parametrizations.weight.{new}"
        )
    return name
