"""Networks that both stages need: `extract` uses them as pretrained encoders, and some are also trained by ercache.

Each file holds one network. If its authors published a state dict, our tensors have the names in this state dict.
"""
