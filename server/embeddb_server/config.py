"""The server's settings: a flag, else the environment, else the TOML file, else the default."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import ssl
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import DirectoryPath, Field, FilePath, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from embeddb.errors import FailedPreconditionError
from embeddb.query.names import DEVICE
from embeddb.settings import PILLOW_MAX_PIXELS, ModelSettings
from embeddb_server.limits import Limits

__all__ = ["Config", "config", "load", "to_toml"]

Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]

PREFIX = "EMBEDDB_SERVER_"


class Config(BaseSettings):
    """Serve an embeddb data folder over gRPC.

    The setting log_level, for example, is the flag --log-level, EMBEDDB_SERVER_LOG_LEVEL in the environment
    and log_level = "info" in the file that --config names; a flag goes before the environment, and that
    before the file. Other commands, each with a --help of its own: config, keys, verify, backup, restore.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        cli_prog_name="embeddb-server",
        cli_kebab_case=True,
        cli_implicit_flags="toggle",
        cli_hide_none_type=True,
    )

    config: FilePath | None = Field(None, description="a TOML file with settings")
    data: Path = Field(description="the data folder; it is created if it does not exist")
    address: str = Field("127.0.0.1", description="the IP address or host name to listen on")
    port: Port = Field(7080, description="the port to listen on; 0 picks a free one")
    drain_seconds: Annotated[float, Field(ge=0)] = Field(
        30.0, description="how long running calls may take to finish after SIGTERM, in seconds"
    )
    durability: Literal["sync", "async"] = Field(
        "sync",
        description="sync: a write is on disk before it is acknowledged; async: within about a second, so"
        " a power failure may lose the last writes or damage the data folder",
    )
    index_device: Annotated[str, Field(pattern=f"^({DEVICE})$")] = Field(
        "auto",
        description="the device that searches indexes: cpu, cuda or cuda:N; auto uses the first GPU, or "
        "the CPU if there is none",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="how much to log to standard error"
    )
    log_format: Literal["text", "json"] = Field("text", description="text for people, json for programs")
    metrics_port: Port | None = Field(
        None,
        description="the port of Prometheus metrics over HTTP, on the same address; none are served if it"
        " is not set",
    )
    tracing: bool = Field(
        False, description="send OpenTelemetry traces; the OTEL_* environment variables say where to"
    )

    models: DirectoryPath | None = Field(
        None, description="the only folder that model files are read from; without it, none are"
    )
    allow_programs: bool = Field(
        False,
        description="allow model files that contain code, TorchScript and .pt2; using one runs that code",
    )
    allow_modules: str = Field(
        "", description="Python modules whose classes may be used as models, separated by commas"
    )
    max_batch: Count = Field(
        ModelSettings.max_batch, description="the most inputs that a model runs in one batch"
    )
    max_queue: Count = Field(ModelSettings.max_queue, description="how many inputs may wait for one model")
    text_cache: Annotated[int, Field(ge=0)] = Field(
        ModelSettings.text_cache,
        description="how many recent query texts each model remembers the features of; texts of up to "
        "1,000 characters",
    )
    predictions: Annotated[int, Field(ge=0)] = Field(
        ModelSettings.predictions, description="how many of the most likely classes are stored with an item"
    )

    max_message_bytes: Count = Field(
        Limits.max_message_bytes, description="the largest gRPC message, sent or received, in bytes"
    )
    max_elements: Count = Field(
        Limits.max_elements,
        description="the longest list in one request: items, ids, contents or expressions",
    )
    max_image_bytes: Count = Field(
        ModelSettings.max_image_bytes, description="the largest image file, in bytes"
    )
    max_image_pixels: Annotated[int, Field(ge=1, le=PILLOW_MAX_PIXELS)] = Field(
        ModelSettings.max_image_pixels,
        description=f"the largest image, width times height; Pillow opens none above {PILLOW_MAX_PIXELS:,}",
    )
    max_calls: Count = Field(Limits.max_calls, description="how many calls may run at once; more are refused")
    max_streams: Count = Field(
        Limits.max_streams, description="how many streams may be open at once; more are refused"
    )

    tls_certificate: FilePath | None = Field(
        None, description="a PEM file with the server's certificate chain"
    )
    tls_key: FilePath | None = Field(None, description="a PEM file with the private key of that certificate")
    tls_client_ca: FilePath | None = Field(
        None,
        description="a PEM file with the CAs that sign client certificates; clients without one are refused",
    )
    allow_anonymous: bool = Field(
        False,
        description="listen on an address that other machines can reach, and ask callers for neither an "
        "API key nor a certificate",
    )

    euclides_collection: str | None = Field(
        None, description="also serve the API of EuclidesDB, for this collection"
    )
    euclides_shutdown: bool = Field(False, description="let EuclidesDB's Shutdown call stop the server")

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls_client_ca is not None and self.tls_key is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        if self.tls_certificate is not None and self.tls_key is not None:
            _check_pems(self.tls_certificate, self.tls_key, self.tls_client_ca)
        return self

    @field_validator("data", "models", mode="before")
    @classmethod
    def _check_folder(cls, folder: object) -> object:
        if folder == "":
            # As of a variable that is not set; Python makes the folder of it where the server happens to run.
            raise ValueError("must be a folder; where the server runs it is '.'")
        return folder

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str) -> str:
        host, colon, port = address.rpartition(":")
        if colon and port.isdigit() and (":" not in host or host.endswith("]")):
            raise ValueError(f"the port goes into a setting of its own: address {host}, port {port}")
        return address

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.address.strip("[]")).is_loopback
        except ValueError:
            return self.address == "localhost"

    @property
    def needs_keys(self) -> bool:
        """Whether nothing but API keys decides who of another machine may call."""
        return not (self.is_local or self.allow_anonymous or self.tls_client_ca)

    @property
    def listen(self) -> str:
        """Address and port as gRPC takes them."""
        host = self.address.strip("[]")
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def limits(self) -> Limits:
        """The part that is about callers, as the server takes it."""
        return Limits(self.max_message_bytes, self.max_elements, self.max_calls, self.max_streams)

    @property
    def model_settings(self) -> ModelSettings:
        """The part that is about models, as the engine takes it."""
        return ModelSettings(
            folder=self.models,
            allow_programs=self.allow_programs,
            python_modules=tuple(filter(None, self.allow_modules.replace(" ", "").split(","))),
            max_batch=self.max_batch,
            max_queue=self.max_queue,
            text_cache=self.text_cache,
            max_image_bytes=self.max_image_bytes,
            max_image_pixels=self.max_image_pixels,
            predictions=self.predictions,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where settings come from after the flags, the strongest first; `load` passes what the file says."""
        return env_settings, init_settings


def load(flags: Sequence[str]) -> Config:
    """Read the settings from flags, the environment and the file that `config` names.

    Raises:
        FailedPreconditionError: some are wrong; the message has a line for each of them.
        SystemExit: there is no such flag, or it was `--help`.
    """
    file = _config_file(flags)
    try:
        from_file = tomllib.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError) as error:
        raise FailedPreconditionError(f"config: {file!r} cannot be read: {error}") from None
    unknown = [name for name in os.environ if name.upper().startswith(PREFIX) and not _is_setting(name)]
    mistakes = [f"{name}: there is no such setting" for name in sorted(unknown)]
    try:
        settings = Config(_cli_parse_args=list(flags), **from_file)  # type: ignore[call-arg]
        if not mistakes:
            return settings
    except ValidationError as error:
        mistakes = [*map(_mistake, error.errors()), *mistakes]
    listed = "\n".join(f"  {each}" for each in mistakes)
    raise FailedPreconditionError(f"settings are wrong:\n{listed}") from None


def config(arguments: Sequence[str]) -> None:
    """Print the settings that the server would run with, as TOML."""
    print(to_toml(load(arguments)))


def to_toml(settings: Config) -> str:
    """The settings as a TOML file that gives the same ones again; what is not set stands as a comment."""
    lines = []
    for key, value in settings.model_dump(mode="json", exclude={"config"}).items():
        # JSON's strings, numbers, truth values and arrays are also TOML's.
        lines.append(f"# {key} =" if value is None else f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines)


def _check_pems(certificate: Path, key: Path, client_ca: Path | None) -> None:
    """Read the files of TLS once: gRPC says of a wrong one that the port cannot be bound, or nothing at all.

    Raises:
        ValueError: one cannot be read or is no such file, or the key is that of another certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password OpenSSL would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise ValueError(
            f"tls_certificate and tls_key must be PEM files of a certificate and of its own private key, not "
            f"encrypted; {str(certificate)!r} and {str(key)!r} given: {error}"
        ) from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except OSError as error:
            raise ValueError(
                f"tls_client_ca must be a PEM file of certificates; {str(client_ca)!r} given: {error}"
            ) from None


def _config_file(flags: Sequence[str]) -> str | None:
    """The file has to be known before the other settings can be read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default=os.environ.get("EMBEDDB_SERVER_CONFIG"))
    file: str | None = parser.parse_known_args(flags)[0].config
    return file


def _is_setting(variable: str) -> bool:
    """Whether a variable of the environment, of either case, is a setting's."""
    return variable[len(PREFIX) :].lower() in Config.model_fields


def _mistake(error: ErrorDetails) -> str:
    key = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    if not key:
        return message
    if error["type"] == "missing":
        return f"{key}: must be set"
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such setting"
    return f"{key}: {error['input']!r} given. {message}"
