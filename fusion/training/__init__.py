"""From a resolved experiment to a run folder: seeds side by side, folds, hard examples."""
