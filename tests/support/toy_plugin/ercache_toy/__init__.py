"""Entries of ercache that lie in a package of their own: an encoder, a corpus, a model and a metric."""
