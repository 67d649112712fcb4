"""Exchange features with other projects: read their files as caches, and write caches as files that they read.

Every reader (`dialogue_pickle`, `cosmic`, `mmsa`, `mult`, `csd`, `merbench`, `lhotse`, `table`, `reimport`) turns a
file into `FileContent`: features by the ids of a manifest. `packing` writes them as caches of unknown origin. All
pickles are read by `unpickle`, which runs none of their code.
"""
