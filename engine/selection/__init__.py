"""Selection of the rows of a scored batch that go on, and its report."""
