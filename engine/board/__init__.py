"""Seed board: the server's side of the board that a node shows in the browser."""
