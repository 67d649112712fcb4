"""Text on its way to encoders: normalised transcripts, an utterance among its neighbours, word relations."""
