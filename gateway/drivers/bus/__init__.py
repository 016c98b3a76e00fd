"""A bus that several protocols may share: bytes out, an answer that was judged back, one owner."""
