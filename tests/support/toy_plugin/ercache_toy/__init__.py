"""A plug-in package for tests: an encoder, a corpus, a model and a metric that ercache finds by entry points."""
