# SPDX-License-Identifier: MIT
"""g01_reflection.py PORT SHARE - a generic client: it knows gRPC, protobuf and the reflection protocol, and nothing of p2pd.  Everything
else, the names of services and methods and what their messages look like, it is told by the daemon."""
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from checks import FACTOR, check, run_checks, same

LIMIT = 15 * FACTOR
Status = grpc.StatusCode
channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}", options=[("grpc.enable_http_proxy", 0)])
share = sys.argv[2]
V1, V1ALPHA = "grpc.reflection.v1", "grpc.reflection.v1alpha"
FILE, SYMBOL, EXTENSION, EXTENSIONS, LIST = 3, 4, 5, 6, 7  # what may be asked: field numbers
ANSWER_FILE, ANSWER_NUMBERS, ANSWER_LIST, ANSWER_ERROR = 4, 5, 6, 7


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def packed(number, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data):
    """(number, value) of each field of a message: bytes, or an integer."""
    def take():
        nonlocal data
        value = shift = 0
        while True:
            byte, data = data[0], data[1:]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    found = []
    while data:
        tag, value = take(), take()
        if tag & 7 == 2:
            value, data = data[:value], data[value:]
        found.append((tag >> 3, value))
    return found


def ask(requests, version=V1):
    return list(channel.stream_stream(f"/{version}.ServerReflection/ServerReflectionInfo")(iter(requests), timeout=LIMIT))


def answers(questions, version=V1):
    """(kind, body) for each (kind, text)."""
    found = []
    requests = [packed(1, "here") + packed(kind, text) for kind, text in questions]
    for request, answer in zip(requests, ask(requests, version), strict=True):
        host, original, body = fields(answer)
        same((host, original), ((1, b"here"), (2, request)))
        found.append((body[0], fields(body[1])))
    return found


def file_of(answer):
    (kind, ((number, data),)) = answer
    same((kind, number), (ANSWER_FILE, 1))
    return descriptor_pb2.FileDescriptorProto.FromString(data)


def error_of(answer):
    kind, body = answer
    same(kind, ANSWER_ERROR)
    return dict(body)[1], dict(body)[2].decode()


def services(version=V1):
    ((kind, body),) = answers([(LIST, "")], version)
    same(kind, ANSWER_LIST)
    return [fields(service)[0][1].decode() for _number, service in body]


def symbols(file):
    """Full names of all that the file defines."""
    def of_enum(enum, scope):
        return [scope + enum.name] + [scope + value.name for value in enum.value]

    def of_message(message, scope):
        name = scope + message.name
        found = [name] + [f"{name}.{part.name}" for part in [*message.field, *message.oneof_decl]]
        for nested in message.nested_type:
            found += of_message(nested, name + ".")
        for enum in message.enum_type:
            found += of_enum(enum, name + ".")
        return found
    scope = file.package + "."
    found = [name for message in file.message_type for name in of_message(message, scope)]
    found += [name for enum in file.enum_type for name in of_enum(enum, scope)]
    for service in file.service:
        found += [scope + service.name] + [f"{scope}{service.name}.{method.name}" for method in service.method]
    return found


# What the daemon tells of itself, put together: all that the checks below know of it.
SERVICES = services()
FILES = {file.name: file for file in map(file_of, answers([(SYMBOL, name) for name in SERVICES]))}
POOL = descriptor_pool.DescriptorPool()
for described in FILES.values():
    POOL.Add(described)


def message_class(descriptor):
    return message_factory.MessageFactory(POOL).GetPrototype(descriptor)


def call(path, **request):
    """Calls "package.Service/Method" with messages that are made from what was told alone; a list of the answers."""
    method = POOL.FindServiceByName(path.split("/")[0]).FindMethodByName(path.split("/")[1])
    told = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(told)
    kind = "_".join("stream" if streams else "unary" for streams in (told.client_streaming, told.server_streaming))
    stub = getattr(channel, kind)("/" + path, message_class(method.input_type).SerializeToString,
                                  message_class(method.output_type).FromString)
    sent = message_class(method.input_type)(**request)
    got = stub(iter([sent]) if told.client_streaming else sent, timeout=LIMIT)
    return list(got) if told.server_streaming else [got]


@check("reflection lists every service, by v1 and v1alpha alike")
def _():
    same(sorted(SERVICES), ["grpc.health.v1.Health", V1 + ".ServerReflection", V1ALPHA + ".ServerReflection",
                            "p2p.v1.Events", "p2p.v1.Files", "p2p.v1.Peers"])
    same(services(V1ALPHA), SERVICES)


@check("reflection has the files under their conventional names")
def _():
    same(sorted(FILES), ["grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
                         "grpc/reflection/v1alpha/reflection.proto", "p2p/v1/p2p.proto"])
    for version in (V1, V1ALPHA):
        same([file_of(answer) for answer in answers([(FILE, name) for name in FILES], version)], list(FILES.values()))


@check("reflection finds the file of every symbol")
def _():
    for file in FILES.values():
        names = symbols(file)
        same({file_of(answer).name for answer in answers([(SYMBOL, name) for name in names])}, {file.name})


@check("reflection answers what it does not know with an error, and goes on")
def _():
    unknown = [(FILE, "p2p.proto"), (FILE, ""), (SYMBOL, "p2p.v1"), (SYMBOL, "p2p.v1.Nothing"), (SYMBOL, ""),
               (SYMBOL, "p2p.v1.Files.Nothing"), (SYMBOL, "p2p.v1.Files."), (EXTENSIONS, "p2p.v1.Nothing"),
               (EXTENSION, packed(1, "p2p.v1.File") + b"\x10\x07")]
    for answer in answers(unknown + [(SYMBOL, "x" * 10000)]):
        same((error_of(answer)[0], error_of(answer)[1][:11]), (Status.NOT_FOUND.value[0], "not-found: "))
    kind, body = answers([(EXTENSIONS, "p2p.v1.File")])[0]
    same((kind, body), (ANSWER_NUMBERS, [(1, b"p2p.v1.File")]))
    both = ask([b"\x42\x00", b"", packed(LIST, "")])
    same([fields(answer)[-1][0] for answer in both], [ANSWER_ERROR, ANSWER_ERROR, ANSWER_LIST])


@check("with nothing but what reflection told, methods are called")
def _():
    (answer,) = call("p2p.v1.Files/Stat", file={"name": "many-001"})
    same((answer.file.name, answer.file.content.size), ("many-001", 4))
    found = call("p2p.v1.Files/Search", text="many-", limit=5)
    same([file.name[:5] for page in found for file in page.files], ["many-"] * 5)
    with open(share + "/many-001", "rb") as file:
        same(b"".join(part.data for part in call("p2p.v1.Files/Download", file={"name": "many-001"})), file.read())
    (answer,) = call("grpc.health.v1.Health/Check")
    same(POOL.FindEnumTypeByName("grpc.health.v1.HealthCheckResponse.ServingStatus").values_by_number[answer.status].name,
         "SERVING")
    same([peer.name for peer in call("p2p.v1.Peers/List")], ["b"])


@check("every method that reflection tells of is there")
def _():
    for file in FILES.values():
        for service in file.service:
            for method in service.method:
                if method.name == "Watch":
                    continue  # it does not end
                try:
                    call(f"{file.package}.{service.name}/{method.name}")
                except grpc.RpcError as error:
                    if error.code() not in (Status.INVALID_ARGUMENT, Status.NOT_FOUND):
                        raise AssertionError(f"{method.name}: {error.code()} {error.details()}") from None


run_checks()
