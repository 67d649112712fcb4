"""Evaluates finished runs: scores, significance tests, rankings of several runs, and case studies of dialogues."""
