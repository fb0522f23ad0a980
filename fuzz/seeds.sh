#!/bin/sh
# Writes a corpus for each target from the samples and recordings of the tests: fuzz/corpus/TARGET.
set -eu
cd "$(dirname "$0")"
python3 - <<'PY'
import glob, hashlib, json, os
def put(target, data):
    data = data if isinstance(data, bytes) else data.encode()
    os.makedirs(f"corpus/{target}", exist_ok=True)
    open(os.path.join("corpus", target, hashlib.sha1(data).hexdigest()), "wb").write(data)
def items(path):
    try:
        found = json.load(open(path))
    except ValueError:
        return []
    return found.get("items", [found]) if isinstance(found, dict) else []
def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
def fields(data):
    """The fields of a message in protobuf that have a content."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 2:
            length, at = varint(data, at)
            yield key >> 3, data[at:at + length]
            at += length
        else:
            _, at = varint(data, at)
def listed(path):
    """The objects of a list in protobuf."""
    raw = next(content for tag, content in fields(open(path, "rb").read()[4:]) if tag == 2)
    return [content for tag, content in fields(raw) if tag == 2]
for path in glob.glob("../tests/data/field/learn/*/*") + glob.glob("../tests/data/recordings/final/*.json"):
    if path.endswith(".log"):
        put("log", open(path, "rb").read())
    elif path.endswith(".json") and not path.endswith("truth.json"):
        for item in items(path)[:400]:
            kind = item.get("kind") or os.path.basename(path)[:-6].capitalize()
            for field in ("managedFields", "annotations"):
                item.get("metadata", {}).pop(field, None)
            text = json.dumps(item)
            if kind == "Pod":
                put("pod", text)
                put("dump", json.dumps({"kind": "Pod", **item}))
                put("watch", "\x80" + json.dumps({"type": "MODIFIED", "object": item}) + "\n")
                for container in item["spec"].get("containers", []):
                    put("image_reference", container["image"] + "\nnot found")
            elif kind == "Event":
                put("event", text)
                put("message", item.get("message", ""))
            elif kind == "Node":
                put("node", text)
for path in glob.glob("../tests/data/recordings/protobuf/*.pb"):
    if "watch" in path:
        data, at = open(path, "rb").read(), 0
        while at < len(data):
            length = 4 + int.from_bytes(data[at:at + 4], "big")
            put("watch", b"\x80" + data[at:at + length])
            at += length
        continue
    for item in listed(path):
        put("event" if "events" in path else "pod", item)
for path in glob.glob("../examples/rules/**/*.yaml", recursive=True) + glob.glob("../tests/data/rules/**/*.yaml", recursive=True):
    put("rules", open(path, "rb").read())
    put("dump", open(path, "rb").read())
for sample in open("../tests/data/logs.txt").read().split("\n## "):
    put("log", sample.partition("\n")[2])
PY
