"""What is told to people: an outbox of notices written with what they tell, and the e-mail that carries them."""
