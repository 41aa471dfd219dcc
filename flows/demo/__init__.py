"""A static page that runs a quantized model in the reader's browser: made here, served by whoever likes."""
