"""A process that decodes compressed frames, so that a codec that dies on damaged data takes nothing else along.

The C codecs beneath pydicom (GDCM's above all) crash, hang or chatter on some damaged streams. Here they may: the
parent (`scanweave.io.dicom.codecs`) sees a closed pipe and says that the frame is damaged. Messages go both ways as
a JSON object and a block of bytes, each after its length.

Run as ``python -m scanweave.io.dicom.codec_worker``: requests on standard input, replies on standard output.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_LENGTH_BYTES = 8


def send(stream: IO[bytes], message: dict[str, Any], payload: bytes) -> None:
    """Write one message."""
    for block in (json.dumps(message).encode(), payload):
        stream.write(len(block).to_bytes(_LENGTH_BYTES))
        stream.write(block)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Read one message.

    Raises:
        EOFError: The other side has gone.
    """
    blocks = []
    for _ in range(2):
        length = stream.read(_LENGTH_BYTES)
        block = stream.read(int.from_bytes(length)) if len(length) == _LENGTH_BYTES else b""
        if len(length) < _LENGTH_BYTES or len(block) < int.from_bytes(length):
            raise EOFError("the other process has gone")
        blocks.append(block)
    return json.loads(blocks[0]), blocks[1]


def decode(encoded: bytes, options: dict[str, Any]) -> NDArray[Any]:
    """Decode one compressed frame as pydicom does by default.

    Args:
        encoded: The frame's bytes.
        options: What `pydicom.pixels.utils.as_pixel_options` gives, JSON types only, with ``transfer_syntax_uid``.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID, JPEGExtended12Bit

    syntax = UID(options["transfer_syntax_uid"])
    if syntax == JPEGExtended12Bit and options["bits_stored"] > 8:
        from .jpeg12 import decode_jpeg12

        return decode_jpeg12(encoded, options)
    array: NDArray[Any]
    array, _ = get_decoder(syntax).as_array(
        encapsulate([encoded]), index=0, **{**options, "transfer_syntax_uid": syntax, "number_of_frames": 1}
    )
    return array


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until the other side goes."""
    while True:
        try:
            options, encoded = receive(requests)
        except EOFError:
            return
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                array = np.ascontiguousarray(decode(encoded, options))
            except Exception as error:  # whatever a codec raises, the reply must say so
                send(replies, {"error": f"{type(error).__name__}: {error}"}, b"")
                continue
        notes = [" ".join(str(entry.message).split()) for entry in caught]
        send(replies, {"dtype": array.dtype.str, "shape": array.shape, "warnings": notes}, array.tobytes())


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
