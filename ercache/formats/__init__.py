"""Exchange features with other projects: read their feature files as caches, and write caches as files for them.

Each reader module (`dialogue_pickle`, `cosmic`, `mmsa`, `mult`, `csd`, `merbench`, `lhotse`, `table`, `reimport`) turns
one kind of file into `FileContent`: its features, with utterance ids of our manifest. `packing` writes them as caches
and marks their origin as unknown. All pickles are read by `unpickle`, which runs no code in them.
"""
