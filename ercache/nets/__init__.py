"""Networks that are needed on both sides of the wall: built by trainings, loaded by encoders.

One file per network, with the state-dict names of its authors where they published any.
"""
