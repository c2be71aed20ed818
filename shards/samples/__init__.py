"""What a sample is: its image, its class, and why a file is refused as one."""
