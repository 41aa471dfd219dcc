"""Yes or no by one number: a task that no other file knows. Texts that name an animal are yes."""
