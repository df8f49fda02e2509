"""Which rows of a scored batch go on, and how that is reported."""
