"""Networks: plain torch modules, one family a file.

A network is built with keyword arguments only, at least `num_classes`, and maps images `[B, 3, H, W]` (float,
normalised) to logits `[B, num_classes]`. It has two attributes: `head`, the name of its classifier part, and
`min_size`, the smallest height and width in pixels that it takes.
"""
