"""Train the extractors (feature networks) that the papers train themselves.

Each trained extractor records the ids of the utterances it was trained on. Inputs come from the engine (manifest,
media, face detections) or from folders of labelled files. The training loop is `ercache.training.loop`. Test data are
never read.
"""
