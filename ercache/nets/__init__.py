"""Networks that both stages need: `extract` loads them as encoders, and training runs train them.

One file per network. If the authors published a state dict, tensor names are the names in that state dict.
"""
