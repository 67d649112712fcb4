"""Training of the extractors that the papers train themselves; what it makes records the ids that it has seen.

Inputs come from the engine (manifest, media, detections) or from folders of labelled files; the loop is
`ercache.training.loop`; nothing of a test part is ever read.
"""
