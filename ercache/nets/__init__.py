"""Networks that both packages need: `extract` loads them as encoders, and trainings build them.

One file per network. Tensor names are those of the authors' published state dict, where there is one.
"""
