from typing import NamedTuple
class Windows(NamedTuple):
    encodings: list
    at: list
def windows_of(*a, **k): raise NotImplementedError
