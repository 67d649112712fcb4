"""Knowledge-based word relation tagging (KWRT) of the paper Cues: which words in a dialogue belong together.

The words of several utterances are looked up in ConceptNet. The result is a matrix with one value per word pair.
"""
