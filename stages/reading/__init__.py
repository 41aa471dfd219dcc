"""Reading of files of rows, in any place and format: finding, opening, decoding and parsing them."""
