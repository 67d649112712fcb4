"""The commands, grouped by what they are about; each module registers its own."""
