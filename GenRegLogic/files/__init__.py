"""Reading and writing: images, landmarks and transforms; every file is written whole or not at all.

Nothing here registers or measures.
"""
