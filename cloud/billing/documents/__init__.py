"""Bills as documents: one model of what is said, written as PDF by typst and as HTML for browsers and e-mail."""
