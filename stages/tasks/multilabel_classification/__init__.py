"""Multi-label classification: any number of labels, or none, for a text or for a pair of texts."""
