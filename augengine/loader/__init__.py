"""Batches ahead of the consumer: threads, substitutes, the meter, what is delivered."""
