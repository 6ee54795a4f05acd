"""The descriptors that are built by hand are those of ``site_worker.proto``."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pb2

from fedthorax.client.site import protocol


def _compiled(folder: Path) -> descriptor_pb2.FileDescriptorProto:
    source = Path(str(resources.files("fedthorax.client.site").joinpath("site_worker.proto")))
    out = folder / "descriptors"
    # In a process of its own: the compiler aborts beside another copy of protobuf's C++ code, such as TensorFlow's.
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{source.parent}", f"--descriptor_set_out={out}"]
    subprocess.run([*command, source.name], check=True)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return file


def test_the_descriptors_equal_those_of_the_compiled_file(tmp_path: Path) -> None:
    assert protocol.file_descriptor() == _compiled(tmp_path)


def test_a_part_holds_either_a_header_or_data() -> None:
    part = protocol.Part(header=protocol.Header(manifest=b"{}"))
    part.data = b"abc"
    assert part.WhichOneof("content") == "data"
    assert not part.HasField("header")
