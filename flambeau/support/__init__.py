"""What every layer may use: switches and exceptions."""
