"""Knowledge-based word relation tagging of Cues: words and lemmas, their relations, and the matrix of a window."""
