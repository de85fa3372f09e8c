"""Files to `Cine` and back; the format is found from the content, never from the suffix."""
