"""Prepare text for encoders: normalised transcripts, utterances with their neighbours, and word relations."""
