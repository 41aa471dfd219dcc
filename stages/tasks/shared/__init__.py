"""What several tasks share: probabilities, and labelled spans of characters."""
