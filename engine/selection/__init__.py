"""Selection of the rows of a scored batch that are finished, and reports of it."""
