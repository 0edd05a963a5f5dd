"""Pictures that are drawn: shapes, emoji, a toy car."""
