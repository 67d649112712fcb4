"""The commands of `ercache`. Each module holds one group of commands and registers it with the command line."""
