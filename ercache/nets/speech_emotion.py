"""The emotion head of audEERING on wav2vec 2.0 (Wagner et al. 2023), which transformers has no class for."""

from torch import Tensor, nn
from transformers.models.wav2vec2.configuration_wav2vec2 import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model


class EmotionHead(nn.Module):
    """Mean state of a clip [B, width] to arousal, dominance and valence [B, 3], each about 0 to 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, 3)

    def forward(self, pooled: Tensor) -> Tensor:
        """Dense layer, tanh, three outputs."""
        values: Tensor = self.out_proj(self.dense(pooled).tanh())
        return values


class SpeechEmotion(nn.Module):
    """wav2vec 2.0 with its emotion head; the names are those of the published state dict.

    Source: audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim, 165,316,995 parameters;
        docs/encoders.md#speech-networks.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.wav2vec2 = Wav2Vec2Model(config)
        self.classifier = EmotionHead(config.hidden_size)
