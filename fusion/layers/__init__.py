"""Parts that several fusion models share: recurrent cells stacked over directions, parties, turns."""
