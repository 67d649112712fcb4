"""The commands of `ercache`. Each module defines some commands and adds them to the command line."""
