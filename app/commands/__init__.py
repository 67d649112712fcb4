"""The commands. Each module holds one group of them and registers it with the command line."""
