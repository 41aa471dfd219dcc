"""Nothing opens as `auto`: model.json names the backend that was taken. dvc.yaml watches this in a runner's place."""
