"""embeddb's Python client.

from embeddb_client import Client, Image, Text

with Client("127.0.0.1:7080") as client:
    client.put("cat", Image("cat.jpg"), {"kind": "pet"})
    client.search(Image("cat.jpg") - Text("a cat") + Text("an elephant"))
"""

from embeddb import (
    CollectionSettings,
    Expression,
    Hit,
    Hits,
    Image,
    Item,
    Modality,
    PutItem,
    Search,
    Text,
    Vector,
    unit,
)
from embeddb_client.access import Access
from embeddb_client.async_client import AsyncClient
from embeddb_client.async_collection import AsyncCollection
from embeddb_client.client import Client
from embeddb_client.collection import Collection

__all__ = [
    "Access",
    "AsyncClient",
    "AsyncCollection",
    "Client",
    "Collection",
    "CollectionSettings",
    "Expression",
    "Hit",
    "Hits",
    "Image",
    "Item",
    "Modality",
    "PutItem",
    "Search",
    "Text",
    "Vector",
    "unit",
]
