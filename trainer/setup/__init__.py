"""Parts for `build.py`: device, networks, what ranks share; checks of size and length."""
