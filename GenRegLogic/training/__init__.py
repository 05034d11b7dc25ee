"""Training of the network on made-up anatomy: nothing of any patient goes into the weights.

    shapes        label maps of random shapes
    motion        random deformations, their inverses and what they make of a pair
    appearance    what a label map looks like in one scan
    pairs         pairs of scans with the field between them, known exactly
    losses        what is minimized
    development   real pairs that the network is tried on while it trains; never learned from
    loop          the training itself, resumable

Not needed to register; `scripts/train` runs it.
"""
