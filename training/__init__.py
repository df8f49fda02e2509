"""Recording of datasets, training of probes, and the statistics by which every probe is measured."""
