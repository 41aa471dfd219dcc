"""What a finished model is used for: a file answered, its errors shown, one answer explained."""
