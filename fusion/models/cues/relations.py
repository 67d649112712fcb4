"""Words of Cues: gates from the matrix of the words' relations (Eq. 1), and word states from token states."""

from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.errors import UsageError

SCORES: Final = 512  # greatest number of words, for the square map of scores


class Relations(nn.Module):
    """Gates of the words from the matrix of their relations: F_t = h_t * Linear(Squeeze(M)) (Eq. 1).

    Args:
        squeeze: how a row of the matrix becomes a score.
        linear: `scalar`: one affine map for all words; `full`: a square matrix over all scores.
        symmetric: use the whole matrix; otherwise its upper triangle.
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
        """Scores s of section 4.2.

        Args:
            matrix: relation matrix of each window, flattened row by row and padded, [N, M].
            words: number of words of each matrix, [N].
            longest: size of the result over words.
            removed: number of words that were removed from the beginning of each window, [N].

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
        """Gates [N, K] of scores [N, K].

        Raises:
            UsageError: there are too many words for `kwrt_linear: full`.
        """
        if self.full is None:
            return self.w * scores + self.b
        if scores.shape[1] > SCORES:
            raise UsageError(
                f"a window of {scores.shape[1]} words", hint=f"kwrt_linear: full takes {SCORES} at most"
            )
        gates: Tensor = self.full(F.pad(scores, (0, SCORES - scores.shape[1])))
        return gates[:, : scores.shape[1]]


def mean_word_states(h: Tensor, spans: Tensor) -> Tensor:
    """Mean of the token states of each word, [N, K, width]; 0 for a word without tokens.

    Args:
        h: token states, [N, T, width].
        spans: for each word its first token, last token + 1 and utterance, [N, K, 3].
    """
    position = torch.arange(h.shape[1], device=h.device)
    inside = ((spans[..., 0, None] <= position) & (position < spans[..., 1, None])).to(h.dtype)
    return inside @ h / inside.sum(-1, keepdim=True).clamp(min=1)
