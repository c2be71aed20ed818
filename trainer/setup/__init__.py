"""What `build.py` puts together: device, networks, what ranks share; checks of size and length."""
