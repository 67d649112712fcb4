"""Cues' words: gates from the matrix of their relations (Equation 1), and words from tokens."""

from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.errors import UsageError

SCORES: Final = 512  # words at most, for the square map of scores


class Relations(nn.Module):
    """Gates of the words from the matrix of their relations: F_t = h_t * Linear(Squeeze(M)) (Eq. 1).

    Args:
        squeeze: how a row of the matrix becomes a score; symmetric: of the whole matrix, or of its upper triangle.
        linear: `scalar`, one affine map for all words; `full`, a square map of all scores.
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

    def scores(self, matrix: Tensor, words: Tensor, longest: int, gone: Tensor | None = None) -> Tensor:
        """s of section 4.2: matrices row by row [N, M] of windows with `words` [N] words, to [N, longest].

        Args:
            gone: so many words at the beginning of a window are not in it any more, [N].
        """
        gone = torch.zeros_like(words) if gone is None else gone
        size = words[:, None].clamp(min=1)
        place = torch.arange(matrix.shape[1], device=matrix.device).expand_as(matrix)
        row, column = place // size, place % size
        first = gone[:, None]
        valid = (place < words[:, None] ** 2) & (row >= first) & (column >= first)
        if not self.symmetric:
            valid = valid & (column > row)
        told = matrix.float() * valid
        row = (row - first).clamp(min=0, max=longest - 1)
        empty = told.new_zeros(len(matrix), longest)
        if self.squeeze == "max":
            return empty.scatter_reduce(1, row, told, "amax")
        total = empty.scatter_add(1, row, told)
        return total / (size - first).clamp(min=1) if self.squeeze == "mean" else total

    def forward(self, scores: Tensor) -> Tensor:
        """Gates [N, K]."""
        if self.full is None:
            return self.w * scores + self.b
        if scores.shape[1] > SCORES:
            raise UsageError(
                f"a window of {scores.shape[1]} words", hint=f"kwrt_linear: full takes {SCORES} at most"
            )
        gates: Tensor = self.full(F.pad(scores, (0, SCORES - scores.shape[1])))
        return gates[:, : scores.shape[1]]


def spoken_words(h: Tensor, spans: Tensor) -> Tensor:
    """Mean of the tokens of each word: [N, T, width] and [N, K, 3] to [N, K, width]; 0 for a word of none."""
    position = torch.arange(h.shape[1], device=h.device)
    inside = ((spans[..., 0, None] <= position) & (position < spans[..., 1, None])).to(h.dtype)
    return inside @ h / inside.sum(-1, keepdim=True).clamp(min=1)
