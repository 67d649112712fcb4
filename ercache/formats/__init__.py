"""Exchange features with other projects: read their feature files as caches, and write caches as files for them.

Every reader (`dialogue_pickle`, `cosmic`, `mmsa`, `mult`, `csd`, `merbench`, `lhotse`, `table`, `reimport`) turns a
file into `FileContent`: features whose utterances are named by the ids of a manifest. `packing` writes them as caches
and marks their origin as unknown. All pickles are read by `unpickle`, which runs none of the code in them.
"""
