"""The chain of seals: each entry carries the digest of the one before it, and may be signed."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lifecycle.audit.records import FeedPosition
from lifecycle.errors import ConfigurationError, EvidenceError

__all__ = [
    "Checkpoint",
    "Entry",
    "Kind",
    "Signer",
    "Tree",
    "chained",
    "finished",
    "public_key",
    "signature_fault",
]

Kind: TypeAlias = Literal["seal", "prune", "erase", "hold", "release"]

_FIRST: Final = "0" * 64


class Entry(Struct, frozen=True, kw_only=True):
    """One entry of the chain.

    A ``seal`` covers ``count`` leaves of the feed up to a position, whose Merkle root is ``root``.
    A ``prune`` or ``erase`` is an act on sealed records: ``root`` is the digest of what it removed.
    A ``hold`` or ``release`` is of the legal hold numbered ``seq``, whose digest is ``root``.
    ``digest`` is that of everything before it here; ``signer`` is the public key of an Ed25519
    ``signature`` of the digest.
    """

    number: int
    kind: str
    at: str
    actor: str | None = None
    reason: str | None = None
    horizon: int = 0
    seq: int = 0
    n: int = 0
    count: int = 0
    root: str = ""
    previous: str = _FIRST
    digest: str = ""
    signer: str | None = None
    signature: str | None = None

    @property
    def position(self) -> FeedPosition:
        """The last position of the feed that a seal covers."""
        return FeedPosition(self.horizon, self.seq, self.n)

    def worked_out(self) -> str:
        """The digest that the entry must have."""
        values = [getattr(self, name) for name in self.__struct_fields__[:-3]]
        return sha256(b"\2" + msgspec.msgpack.encode([*values, self.signer])).hexdigest()


def chained(before: Entry | None, kind: Kind, **fields: Any) -> Entry:
    """The entry after another one, not finished: without its digest."""
    return Entry(
        number=1 if before is None else before.number + 1,
        previous=_FIRST if before is None else before.digest,
        kind=kind,
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        **fields,
    )


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What to keep elsewhere of the chain: it can only be true of a log that grew from there."""

    number: int
    at: str
    digest: str
    signer: str | None = None
    signature: str | None = None

    @classmethod
    def of(cls, entry: Entry) -> Checkpoint:
        """The checkpoint of an entry of the chain."""
        return cls(
            number=entry.number,
            at=entry.at,
            digest=entry.digest,
            signer=entry.signer,
            signature=entry.signature,
        )

    def text(self) -> str:
        """As one line of JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> Checkpoint:
        """From that line. Raises ``EvidenceError`` when it is none."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise EvidenceError(
                f"this is no checkpoint ({error}): give the line that `lifecycle seal` printed"
            ) from error


class Tree:
    """A Merkle tree whose leaves come one by one; it holds one digest for each of its levels."""

    def __init__(self) -> None:
        self.count = 0
        self._levels: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Add the digest of the next leaf."""
        self.count += 1
        height = 0
        while self._levels and self._levels[-1][0] == height:
            leaf = sha256(b"\1" + self._levels.pop()[1] + leaf).digest()
            height += 1
        self._levels.append((height, leaf))

    @property
    def root(self) -> str:
        """The root over all leaves so far, in hexadecimal digits."""
        if not self._levels:
            return sha256(b"").hexdigest()
        root = self._levels[-1][1]
        for _, left in reversed(self._levels[:-1]):
            root = sha256(b"\1" + left + root).digest()
        return root.hex()


class Signer:
    """Signs entries with an Ed25519 key, given as 64 hexadecimal digits, 32 bytes or PEM.

    Raises ``ConfigurationError`` when it is none, or ``cryptography`` is not installed.
    """

    def __init__(self, key: str | bytes) -> None:
        ed25519, serialization = _cryptography()
        try:
            if isinstance(key, str) and "PRIVATE KEY" in key:
                key = key.encode()
            if isinstance(key, bytes) and b"PRIVATE KEY" in key:
                private = serialization.load_pem_private_key(key, None)
            else:
                raw = bytes.fromhex(key) if isinstance(key, str) else key
                private = ed25519.Ed25519PrivateKey.from_private_bytes(raw)
            if not isinstance(private, ed25519.Ed25519PrivateKey):
                raise ValueError("a key of another kind")
        except (ValueError, TypeError):
            raise ConfigurationError(
                "the signing key is no Ed25519 private key: give 64 hexadecimal digits, 32 bytes "
                "or an unencrypted PEM; `openssl genpkey -algorithm ed25519` makes one"
            ) from None  # its message could show the key
        self._private: Final = private
        self.public: Final[str] = (
            private.public_key()
            .public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            .hex()
        )

    def signed(self, entry: Entry) -> Entry:
        """The entry with its digest and its signature."""
        entry = replace(entry, signer=self.public)
        entry = replace(entry, digest=entry.worked_out())
        signature: bytes = self._private.sign(bytes.fromhex(entry.digest))
        return replace(entry, signature=signature.hex())


def finished(entry: Entry, signer: Signer | None) -> Entry:
    """An entry with its digest, and its signature if there is a signer."""
    if signer is not None:
        return signer.signed(entry)
    return replace(entry, digest=entry.worked_out())


def public_key(text: str) -> str:
    """A key to trust, as entries name their signer. Raises ``ConfigurationError`` for none such."""
    if re.fullmatch("[0-9a-fA-F]{64}", text) is None:
        raise ConfigurationError(
            f"{text!r} is no Ed25519 public key: give 64 hexadecimal digits, as the checkpoints of "
            'a signed log have them under "signer"'
        )
    return text.lower()


def signature_fault(one: Entry | Checkpoint, trusted: Collection[str] = ()) -> str | None:
    """What is wrong with a signature; ``None`` when it is right.

    ``trusted`` are public keys as of `public_key`: with any, one of them must have signed.
    """
    if one.signer is None or one.signature is None:
        is_half = one.signer is not None or one.signature is not None
        return "it is not signed" if trusted or is_half else None
    if trusted and one.signer not in trusted:
        return f"it is signed by {one.signer}, which is none of the keys to trust"
    ed25519, _ = _cryptography()
    from cryptography.exceptions import InvalidSignature

    try:
        public = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(one.signer))
        signature = bytes.fromhex(one.signature)
        if signature.hex() != one.signature:
            raise ValueError("not as it was written")
        public.verify(signature, bytes.fromhex(one.digest))
    except (InvalidSignature, ValueError):
        return "its signature does not fit it"
    return None


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "signatures need cryptography; run: pip install 'lifecycle-audit[sign]'"
        ) from error
    return ed25519, serialization
