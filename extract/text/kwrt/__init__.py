"""Knowledge-based word relation tagging (KWRT) of Cues: find words, their relations, and a matrix of related words."""
