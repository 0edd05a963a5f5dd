"""What `sfumato demo` shows beside what it trains, a section of its page a file."""
