"""Machines that people have: file systems and rights that the machine of the tests has not."""
