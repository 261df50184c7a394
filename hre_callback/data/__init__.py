"""What people wrote and voted: questions, where they come from, and whether training has seen them."""
