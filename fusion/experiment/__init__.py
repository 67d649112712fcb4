"""An experiment before any training: its options resolved, its data read, everything checked."""
