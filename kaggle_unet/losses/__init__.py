"""What training minimises: weighted cross-entropy, soft Dice, and their sum."""
