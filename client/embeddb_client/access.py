"""How a server is reached: encrypted or not, and with which proof of who is calling."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import grpc

from embeddb.errors import InvalidArgumentError

__all__ = ["Access", "check_address"]


@dataclass(frozen=True)
class Access:
    """How a server is reached that does not take just anybody.

    Attributes:
        api_key: the secret that `embeddb-server keys add` printed.
        tls: whether the connection is encrypted; any of the files below implies it.
        ca: PEM file of who signs the server's certificate; the system's authorities if None.
        certificate: PEM file of the client's own certificate, for servers that want one.
        key: PEM file of its private key.

    Raises:
        InvalidArgumentError: the secret cannot be a header.
    """

    api_key: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def __post_init__(self) -> None:
        # gRPC refuses such a header with a message that tells the whole secret.
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            allowed = "must be printable ASCII, without a line's end (its value is not shown)"
            raise InvalidArgumentError("api_key", f"{len(self.api_key)} characters", allowed)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """What encrypts a channel; None for one that is not.

        Raises:
            InvalidArgumentError: a file cannot be read, or a certificate is without its key.
        """
        if not (self.tls or self.ca or self.certificate or self.key):
            return None
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgumentError("certificate", str(self.certificate), "must come together with key")
        return grpc.ssl_channel_credentials(
            _read("ca", self.ca), _read("key", self.key), _read("certificate", self.certificate)
        )

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """What goes with every call."""
        return [] if self.api_key is None else [("authorization", f"Bearer {self.api_key}")]


def check_address(field_name: str, address: str) -> str:
    """Return the address if it names a port; gRPC would take port 443, and fail to connect some time later.

    Raises:
        InvalidArgumentError: it names none.
    """
    if ":" not in address:
        raise InvalidArgumentError(field_name, address, f"must be HOST:PORT, such as {address}:7080")
    return address


def _read(name: str, path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgumentError(name, str(path), f"cannot be read: {error.strerror}") from None
