"""audEERING's speech emotion network (Wagner et al. 2023): wav2vec 2.0 and a head for arousal, dominance and valence.

The head is written here because the package transformers has no class for it.
"""

from torch import Tensor, nn
from transformers.models.wav2vec2.configuration_wav2vec2 import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model


class EmotionHead(nn.Module):
    """Predicts arousal, dominance and valence from the mean state of a clip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, 3)

    def forward(self, pooled: Tensor) -> Tensor:
        """Predict arousal, dominance and valence of B clips, by a dense layer, tanh and an output layer.

        Args:
            pooled: mean state of each clip, [B, width].

        Returns:
            Arousal, dominance and valence in this order, each about 0 to 1, [B, 3].
        """
        values: Tensor = self.out_proj(self.dense(pooled).tanh())
        return values


class SpeechEmotion(nn.Module):
    """audEERING's wav2vec 2.0 with its emotion head. Tensors have the names in the published state dict.

    Source: audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim, 165,316,995 parameters;
        docs/encoders.md#speech-networks.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.wav2vec2 = Wav2Vec2Model(config)
        self.classifier = EmotionHead(config.hidden_size)
