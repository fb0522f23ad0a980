#!/bin/sh
# Writes a corpus for each target from the samples of the tests: fuzz/corpus/TARGET.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/message corpus/log corpus/pod_json corpus/event_json corpus/image_reference
python3 - <<'PY'
import glob, hashlib, json, os
def put(target, data):
    data = data if isinstance(data, bytes) else data.encode()
    open(os.path.join("corpus", target, hashlib.sha1(data).hexdigest()), "wb").write(data)
def items(path):
    try:
        found = json.load(open(path))
    except ValueError:
        return []
    return found.get("items", [found]) if isinstance(found, dict) else []
for path in glob.glob("../tests/data/field/learn/*/*"):
    if path.endswith(".log"):
        put("log", open(path, "rb").read())
    elif path.endswith(".json") and not path.endswith("truth.json"):
        for item in items(path):
            if item.get("kind") == "Pod":
                put("pod_json", json.dumps(item))
                for container in item["spec"].get("containers", []):
                    put("image_reference", container["image"] + "\nnot found")
            elif item.get("kind") == "Event":
                put("event_json", json.dumps(item))
                put("message", item.get("message", ""))
for sample in open("../tests/data/logs.txt").read().split("\n## "):
    put("log", sample.partition("\n")[2])
PY
