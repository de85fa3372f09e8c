"""JPEG Extended (process 4) with 12-bit samples.

pydicom 3.0 hands such streams neither to GDCM nor to Pillow, and the one plug-in left is under the GPL. GDCM itself
decodes them; it is called here as pydicom's own plug-in calls it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import JPEGExtended12Bit


def decode_jpeg12(encoded: bytes, options: dict[str, Any]) -> NDArray[Any]:
    """Decode one unsigned grey frame of 9 to 12 bits.

    Args:
        encoded: The JPEG stream.
        options: Pixel description: ``rows``, ``columns``, ``bits_stored``.

    Returns:
        uint16 ``(row, column)``.

    Raises:
        ValueError: The stream cannot be decoded.
    """
    import gdcm

    rows, columns, stored = options["rows"], options["columns"], options["bits_stored"]
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(encoded)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    image.SetPhotometricInterpretation(grey)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, stored, stored - 1, 0))
    decoded = image.GetBuffer()
    if decoded is None:
        raise ValueError("GDCM cannot decode the stream")
    # GDCM returns its char buffer as text.
    return np.frombuffer(decoded.encode("utf-8", "surrogateescape"), dtype="<u2").reshape(rows, columns)
