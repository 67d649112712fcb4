"""From caches to batches: features, labels, context windows, standardised and padded tensors."""
