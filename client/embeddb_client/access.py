"""How a server is reached: encrypted or not, and with which proof of who is calling."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from embeddb.arguments import check_fields
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
        InvalidArgumentError: a field is of another type, or the secret cannot be a header.
    """

    api_key: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        # gRPC refuses such a header with a message that tells the whole secret.
        key = self.api_key
        if key is not None and not (key and key.isascii() and key.isprintable()):
            allowed = "must be printable ASCII, not empty and without a line's end (its value is not shown)"
            raise InvalidArgumentError("api_key", f"{len(key)} characters", allowed)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """What encrypts a channel; None for one that is not.

        Raises:
            InvalidArgumentError: a file cannot be read or is not what it should be, or a certificate is
                without its key.
        """
        # An empty path is a mistake, and not to be taken for none: the key would travel in clear.
        if not self.tls and self.ca is None and self.certificate is None and self.key is None:
            return None
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgumentError("certificate", str(self.certificate), "must come together with key")
        read = _read("ca", self.ca), _read("key", self.key), _read("certificate", self.certificate)
        _check_pems(self.ca, self.certificate, self.key)
        return grpc.ssl_channel_credentials(*read)

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


def _check_pems(ca: str | Path | None, certificate: str | Path | None, key: str | Path | None) -> None:
    """Read the files once: of a wrong one gRPC says nothing, and fails to connect for ever.

    Raises:
        InvalidArgumentError: one is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError as error:
            allowed = f"must be a PEM file of certificates: {error}"
            raise InvalidArgumentError("ca", str(ca), allowed) from None
    if certificate is not None:
        try:
            # Without a password OpenSSL would ask for that of an encrypted key on the terminal.
            context.load_cert_chain(certificate, key, password="")
        except ssl.SSLError as error:
            given = f"{certificate} and {key}"
            allowed = f"must be PEM files of a certificate and of its own private key, not encrypted: {error}"
            raise InvalidArgumentError("certificate, key", given, allowed) from None


def _read(name: str, path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgumentError(name, str(path), f"cannot be read: {error.strerror}") from None
