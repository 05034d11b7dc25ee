"""What the user adds to a registration: masks, landmarks, rigid structures, and the region of a local repair."""
