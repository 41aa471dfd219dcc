"""Files of rows, wherever they lie and however they are written: finding, opening, decoding, taking them apart."""
