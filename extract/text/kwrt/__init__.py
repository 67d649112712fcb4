"""Knowledge-based word relation tagging of Cues: words and lemmas, what relates them, and the matrix of a window."""
