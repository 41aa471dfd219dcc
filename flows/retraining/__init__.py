"""The parts of the flow `retrain`: where it starts, the newest data, and the proposal that comes of it."""
