"""Training of the network on synthetic anatomy: no patient data enter the weights.

    shapes        label maps of random shapes
    motion        random deformations with their inverses, and the field between two of them
    appearance    how a label map looks in a scan
    pairs         pairs of scans with the exact field between them
    losses        the loss functions
    validation    real pairs on which the network is evaluated during the training, without learning from them
    loop          the training loop, resumable

Not needed for a registration; `scripts/train` runs it.
"""
