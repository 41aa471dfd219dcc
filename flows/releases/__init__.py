"""The released model, and the profile of the data that it was trained on."""
