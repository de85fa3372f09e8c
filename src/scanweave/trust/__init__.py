"""How far what was made can be trusted, judged by what was acquired."""
