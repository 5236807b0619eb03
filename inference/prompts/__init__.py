"""Where prompts and the pictures they start from come from."""
