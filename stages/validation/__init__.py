"""What is expected of the data, and asking Great Expectations about it."""
