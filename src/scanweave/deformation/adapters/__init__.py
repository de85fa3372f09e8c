"""Deformations as transforms of other people's pipelines: `monai`, `torchio`, `batchgeneratorsv2`.

Each is a module of its own, imported where it is used; the packages come with ``pip install "scanweave[interop]"``.
"""
