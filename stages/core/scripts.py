"""Scripts that put no blanks between words, where each character is taken for a word."""

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff"
)
"""The characters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, as ranges in a set of a regular expression."""

WORDS = r"\w\p{M}\p{N}"
"""Characters of words, for a set in a pattern of `regex`; the vowel signs of Hindi, say, are none of \\w."""
