"""The seed board: what the node in the browser is told, and what it answers."""
