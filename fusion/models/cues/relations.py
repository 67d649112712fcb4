"""Word weights of Cues, from the matrix of relations between words (Eq. 1); and word states from token states."""

from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.errors import UsageError

SCORES: Final = 512  # greatest number of words, for the square map of scores


class Relations(nn.Module):
    """Computes a weight (gate) for each word from the matrix M of relations between words (Eq. 1).

    F_t = h_t * Linear(Squeeze(M)), with h_t the word states.

    Args:
        squeeze: how a row of M becomes the score of a word: `sum`, `mean` or `max` of the row.
        linear: map from scores to gates. `scalar`: the same affine map for every word. `full`: a square matrix over
            the scores of all words.
        symmetric: use the whole matrix M; if False, only its upper triangle.
    """

    def __init__(
        self,
        squeeze: Literal["sum", "mean", "max"] = "sum",
        linear: Literal["scalar", "full"] = "scalar",
        symmetric: bool = True,
    ) -> None:
        super().__init__()
        self.squeeze, self.symmetric = squeeze, symmetric
        self.full = nn.Linear(SCORES, SCORES) if linear == "full" else None
        if self.full is None:
            self.w, self.b = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(1.0))

    def scores(self, matrix: Tensor, words: Tensor, longest: int, removed: Tensor | None = None) -> Tensor:
        """Compute the score of each word from the relation matrix of its window (section 4.2).

        Args:
            matrix: relation matrices of N windows, each flattened row by row and padded to P values, [N, P].
            words: number of words of each matrix, [N].
            longest: number of words to which the result is padded.
            removed: number of words to leave out at the beginning of each window, [N]; None to leave out no word.

        Returns:
            Scores of the remaining words, [N, longest].
        """
        removed = torch.zeros_like(words) if removed is None else removed
        size = words[:, None].clamp(min=1)
        place = torch.arange(matrix.shape[1], device=matrix.device).expand_as(matrix)
        row, column = place // size, place % size
        first = removed[:, None]
        valid = (place < words[:, None] ** 2) & (row >= first) & (column >= first)
        if not self.symmetric:
            valid = valid & (column > row)
        values = matrix.float() * valid
        row = (row - first).clamp(min=0, max=longest - 1)
        empty = values.new_zeros(len(matrix), longest)
        if self.squeeze == "max":
            return empty.scatter_reduce(1, row, values, "amax")
        total = empty.scatter_add(1, row, values)
        return total / (size - first).clamp(min=1) if self.squeeze == "mean" else total

    def forward(self, scores: Tensor) -> Tensor:
        """Map the scores of words to gates, the factors by which the word states are multiplied.

        Args:
            scores: score of each of the K words of N windows, [N, K].

        Returns:
            Gates, [N, K].

        Raises:
            UsageError: a window has too many words for `kwrt_linear: full`.
        """
        if self.full is None:
            return self.w * scores + self.b
        if scores.shape[1] > SCORES:
            raise UsageError(
                f"cues: a window has {scores.shape[1]} words; `kwrt_linear: full` takes {SCORES} at most",
                hint="set `kwrt_linear: scalar`, or take fewer utterances in a window",
            )
        gates: Tensor = self.full(F.pad(scores, (0, SCORES - scores.shape[1])))
        return gates[:, : scores.shape[1]]


def mean_word_states(h: Tensor, spans: Tensor) -> Tensor:
    """Average the token states of each word.

    Args:
        h: token states of N windows, [N, T, width]: T tokens.
        spans: three numbers for each of K words, [N, K, 3]: index of the word's first token, index of its last token
            + 1, and offset of its utterance (0 for the window's last one, -1 for the one before).

    Returns:
        Word states, [N, K, width]; 0 for a word without tokens.
    """
    position = torch.arange(h.shape[1], device=h.device)
    inside = ((spans[..., 0, None] <= position) & (position < spans[..., 1, None])).to(h.dtype)
    return inside @ h / inside.sum(-1, keepdim=True).clamp(min=1)
