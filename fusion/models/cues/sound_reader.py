"""WavLM as a trained part of Cues (`finetune_wavlm`): turns audio samples into speech frames."""

import torch
from torch import nn

from ercache.nets.speech_networks import BASE_WAVLM, UNMASKED, UNUSED, build, tensor_name
from ercache.weights import Weights
from fusion.data.ragged import Steps
from fusion.layers.masked import length_mask

CHECKPOINT = "wavlm-base-plus"
LEAST = 400  # samples of one frame
ALWAYS = {"layerdrop": 0.0}  # docs/papers/cues.md does not drop layers


class SoundReader(nn.Module):
    """WavLM base, trained together with the model.

    WavLM gets one utterance at a time: its group norm runs over time, so padding in a batch would change the result.
    """

    def __init__(self) -> None:
        super().__init__()
        self.width = BASE_WAVLM.width
        self.network = build(BASE_WAVLM.family, BASE_WAVLM.config | UNMASKED | ALWAYS, BASE_WAVLM.emotion)

    def load(self) -> None:
        """Load the published weights of WavLM.

        Raises:
            WeightsError: the checkpoint is missing, damaged or from another network.
        """
        Weights(CHECKPOINT).network(lambda: self.network, strip=("wavlm.",), drop=UNUSED, rename=tensor_name)

    def forward(self, sound: Steps) -> Steps:
        """Turn the audio samples of K utterances, [K, n] with n samples at 16 kHz, into T speech frames, [K, T, width].

        Utterances that are shorter than one frame are left out.
        """
        lengths = sound.mask.sum(1)
        long = (lengths >= LEAST).nonzero().flatten()
        frames = [self.network(sound.values[k : k + 1, : lengths[k]]).last_hidden_state[0] for k in long]
        longest = max(map(len, frames), default=1)
        counts = torch.tensor([len(x) for x in frames], dtype=torch.long, device=sound.values.device)
        values = sound.values.new_zeros(len(frames), longest, self.width)
        if frames:
            values = torch.stack([nn.functional.pad(x, (0, 0, 0, longest - len(x))) for x in frames])
        return Steps(values, length_mask(counts, longest), sound.places[long], sound.modality)
