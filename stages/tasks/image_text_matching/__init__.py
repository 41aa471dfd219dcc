"""Image-text matching: vectors of images and of texts such that those that belong together are near."""
