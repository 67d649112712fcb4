"""Build the speech networks wav2vec 2.0, HuBERT and WavLM in all published sizes.

Source: docs/encoders.md#speech-networks.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ercache.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

Family = Literal["wav2vec2", "hubert", "wavlm"]


@dataclass(frozen=True)
class SpeechNetwork:
    """Fixed properties of a published speech network.

    Attributes:
        family: architecture: `wav2vec2`, `hubert` or `wavlm`.
        width: size of the states.
        layers: number of transformer layers.
        norm: normalisation after the first convolution. `group` uses statistics over time, so padding would change
            every frame even with a mask; such a network takes one clip per forward pass. `layer` normalises each frame;
            such a network takes padded batches with a mask.
        bias: whether the convolutions have a bias.
        stable: whether the transformer layers are pre-norm (a norm before attention and feed-forward), with one more
            norm after the last layer.
        normalised: whether clips are normalised to mean 0 and variance 1 (`do_normalize` of the checkpoint's
            preprocessor).
        emotion: whether the network has the emotion head of audEERING.
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
        """Return the fields of config.json in which this network differs from the defaults of `transformers`."""
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
    """Build a speech network from its config.json. No checkpoint is loaded.

    Args:
        family: architecture: `wav2vec2`, `hubert` or `wavlm`.
        config: content of config.json.
        emotion: whether to add the emotion head of audEERING.
    """
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
    """Remove all transformer layers above `layer`, so that the network returns the states of this layer.

    These are what transformers calls `hidden_states[layer]`. If `layer` is the last layer, nothing is removed, and the
    output is `last_hidden_state`, including the final norm if the network has one.

    Args:
        network: network that is changed in place.
        layer: number of the highest layer to keep, counted from 1.

    Raises:
        WeightsError: the network has no such layer.
    """
    from torch import nn

    layers = network.encoder.layers
    if layer > len(layers):
        raise WeightsError(
            f"the feature uses layer {layer}, but the network of its checkpoint has only {len(layers)} layers",
            hint="choose another `layer` in params.yaml, or another checkpoint",
        )
    if layer < len(layers):
        network.encoder.layers = layers[:layer]
        if network.config.do_stable_layer_norm:  # the final norm belongs to the last layer
            network.encoder.layer_norm = nn.Identity()


# Tensors that only training uses: contrastive targets of wav2vec 2.0, the letters of a speech recogniser, and the
# vector that replaces masked frames (in the file of wav2vec2-base, not in that of wav2vec2-base-960h).
UNUSED = (
    "quantizer.",
    "project_q.",
    "project_hid.",
    "lm_head.",
    "masked_spec_embed",
    "wav2vec2.masked_spec_embed",
)
UNMASKED = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}  # config of a network without that vector


def tensor_name(name: str) -> str:
    """Translate the name of a tensor in a published speech checkpoint to its name in transformers 5.

    Only the tensors of weight norms have other names there. All other names are returned unchanged.
    """
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        name = name.replace(
            f"pos_conv_embed.conv.{old}", f"pos_conv_embed.conv.parametrizations.weight.{new}"
        )
    return name
