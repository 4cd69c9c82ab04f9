"""As much of DER (ITU-T X.690) as a certificate of Intel's needs beyond what Python's library writes."""

INTEGER, BIT_STRING, OCTET_STRING, OID, ENUMERATED, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x0A, 0x30
SHORT = 128  # bytes; from here on the length has a length


def tlv(tag: int, *parts: bytes) -> bytes:
    """One value with its tag and its length in front."""
    value = b"".join(parts)
    length = len(value)
    if length < SHORT:
        return bytes([tag, length]) + value
    count = (length.bit_length() + 7) // 8
    return bytes([tag, SHORT | count]) + length.to_bytes(count) + value


def oid(dotted: str) -> bytes:
    """An object identifier out of its dotted form (X.690, 8.19)."""
    first, second, *others = map(int, dotted.split("."))
    return tlv(OID, *map(_base_128, (40 * first + second, *others)))


def _base_128(number: int) -> bytes:
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127 | 128)
    return bytes(reversed(digits))
