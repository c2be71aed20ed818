"""The evaluation protocols of the papers: each chooses on training images, then scores once."""
