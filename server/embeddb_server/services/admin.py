"""Administration over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import grpc

from embeddb.errors import FailedPreconditionError
from embeddb.query import KeyInfo, check_names
from embeddb_protos.v1 import admin_pb2, admin_pb2_grpc
from embeddb_protos.wire.service import stats_message
from embeddb_protos.wire.upkeep import backup_message, finding_message, key_message
from embeddb_server.keys import Key, KeyFile, Role, role_of
from embeddb_server.services.following import follow
from embeddb_server.services.served import Served, Service


class AdminService(Service, admin_pb2_grpc.AdminServiceServicer):
    """Tells the server's figures, makes backups, checks what is stored, and looks after the API keys.

    Args:
        served: what is served.
        keys: the API keys; None for a server that has none.
    """

    def __init__(self, served: Served, keys: KeyFile | None) -> None:
        super().__init__(served)
        self._key_file = keys

    def GetStats(  # noqa: D102, N802 - documented in the .proto
        self, request: admin_pb2.GetStatsRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetStatsResponse:
        return stats_message(self._database.stats())

    def Backup(  # noqa: D102, N802 - documented in the .proto
        self, request: admin_pb2.BackupRequest, context: grpc.ServicerContext
    ) -> Iterator[admin_pb2.BackupResponse]:
        name = request.name or datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
        return follow(
            lambda told: self._database.save_backup(name, on_progress=told),
            admin_pb2.BackupResponse,
            backup_message,
        )

    def Verify(  # noqa: D102, N802 - documented in the .proto
        self, request: admin_pb2.VerifyRequest, context: grpc.ServicerContext
    ) -> Iterator[admin_pb2.VerifyResponse]:
        return follow(
            lambda told: self._database.verify_data(on_progress=told),
            admin_pb2.VerifyResponse,
            lambda findings: admin_pb2.Verified(findings=map(finding_message, findings)),
        )

    def CreateKey(  # noqa: D102, N802 - documented in the .proto
        self, request: admin_pb2.CreateKeyRequest, context: grpc.ServicerContext
    ) -> admin_pb2.CreateKeyResponse:
        asked = request.key
        role, collections = role_of(asked.role), check_names("key.collections", asked.collections)
        if not self._keys and (role is not Role.ADMIN or collections):
            raise FailedPreconditionError(
                "the first key must have the role admin, for all collections: once there is a key, only such "
                "a one can make others"
            )
        secret = self._keys.add(asked.name, role, collections)
        made = next(key for key in self._keys.all() if key.name == asked.name)
        return admin_pb2.CreateKeyResponse(key=key_message(_info(made)), secret=secret)

    def ListKeys(  # noqa: D102, N802 - documented in the .proto
        self, request: admin_pb2.ListKeysRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ListKeysResponse:
        return admin_pb2.ListKeysResponse(keys=[key_message(_info(key)) for key in self._keys.all()])

    def DeleteKey(  # noqa: D102, N802 - documented in the .proto
        self, request: admin_pb2.DeleteKeyRequest, context: grpc.ServicerContext
    ) -> admin_pb2.DeleteKeyResponse:
        others = [key for key in self._keys.all() if key.name != request.name]
        if others and not any(key.role is Role.ADMIN and not key.collections for key in others):
            raise FailedPreconditionError(
                f"key {request.name!r} is the last with the role admin for all collections, without which no "
                f"other can be deleted: delete the others first"
            )
        self._keys.remove(request.name)
        return admin_pb2.DeleteKeyResponse()

    @property
    def _keys(self) -> KeyFile:
        if self._key_file is None:
            raise FailedPreconditionError("this server takes no API keys: it was started without their file")
        return self._key_file


def _info(key: Key) -> KeyInfo:
    return KeyInfo(key.name, key.role.name.lower(), key.collections, key.created)
