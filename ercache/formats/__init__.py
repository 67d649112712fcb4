"""Features in and out: files of other projects become caches, caches become files that other projects read.

Every reader (`dialogue_pickle`, `cosmic`, `mmsa`, `csd`, `merbench`, `lhotse`, `returned`) turns a file into `Content`:
features by the ids of a manifest. `packing` writes them as caches of unknown origin. Pickles are read by `unpickle`
only.
"""
