"""A sealed model over HTTP: `winnow app`."""
