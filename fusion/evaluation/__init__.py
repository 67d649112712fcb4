"""Scores of finished runs, their significance, rankings of systems and case studies."""
