"""Train the extractors that the papers train themselves; each trained extractor records the ids it was trained on.

Inputs come from the engine (manifest, media, detections) or from folders of labelled files. The training loop is
`ercache.training.loop`. Data of a test part are never read.
"""
