"""What has been released, and the data that it was trained on."""
