"""Files in, files out: runs that can be killed and taken up again, one input or many."""
