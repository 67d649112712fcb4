"""Run by Python at the start of each process that has this folder on its path: its media libraries fail on demand."""

import faulty_libraries

faulty_libraries.install()
