"""The messages of ``site_worker.proto`` as Python classes, made when this module is imported.

Generated code is not kept in the repository, and a hospital has no compiler for protocol buffers: the descriptors are
small enough to be built by hand. ``tests/client/site/test_protocol.py`` compiles the file and compares.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "fedthorax.site"
SERVICE = f"{PACKAGE}.SiteWorker"
WORK, WATCH, ALIVE = (f"/{SERVICE}/{name}" for name in ("Work", "Watch", "Alive"))

_Type = descriptor_pb2.FieldDescriptorProto
# (name, number, type or message, repeated, in the oneof `content`)
_MESSAGES: dict[str, tuple[tuple[str, int, int | str, bool, bool], ...]] = {
    "Header": (("manifest", 1, _Type.TYPE_BYTES, False, False), ("stamp", 2, _Type.TYPE_STRING, False, False)),
    "Part": (("header", 1, "Header", False, True), ("data", 2, _Type.TYPE_BYTES, False, True)),
    "Progress": (
        ("stage", 1, _Type.TYPE_STRING, False, False),
        ("done", 2, _Type.TYPE_UINT64, False, False),
        ("total", 3, _Type.TYPE_UINT64, False, False),
    ),
    "Update": (("progress", 1, "Progress", False, True), ("part", 2, "Part", False, True)),
    "WatchRequest": (),
    "AliveRequest": (),
    "AliveReply": (),
    "Event": (("json", 1, _Type.TYPE_STRING, False, False),),
}


def file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """What a compiler makes of ``site_worker.proto``, without the comments."""
    file = descriptor_pb2.FileDescriptorProto(name="site_worker.proto", package=PACKAGE, syntax="proto3")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        if any(in_oneof for *_, in_oneof in fields):
            message.oneof_decl.add(name="content")
        for name, number, kind, repeated, in_oneof in fields:
            label = _Type.LABEL_REPEATED if repeated else _Type.LABEL_OPTIONAL
            field = message.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _Type.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = kind
            if in_oneof:
                field.oneof_index = 0
    service = file.service.add(name="SiteWorker")
    for name, request, answer, streams in (
        ("Work", "Part", "Update", ("client_streaming", "server_streaming")),
        ("Watch", "WatchRequest", "Event", ("server_streaming",)),
        ("Alive", "AliveRequest", "AliveReply", ()),
    ):
        method = service.method.add(name=name, input_type=f".{PACKAGE}.{request}", output_type=f".{PACKAGE}.{answer}")
        for stream in streams:
            setattr(method, stream, True)
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(file_descriptor())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


Header, Part, Progress = map(_message, ("Header", "Part", "Progress"))
Update, WatchRequest, Event = map(_message, ("Update", "WatchRequest", "Event"))
AliveRequest, AliveReply = map(_message, ("AliveRequest", "AliveReply"))
