"""What is put right after a bill was issued: re-rating, adjustments, credit and debit notes."""
