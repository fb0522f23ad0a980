"""What happens in the simulated cluster: workloads whose pods run, crash, are killed for memory, or find no image.

Statuses are written in the order and with the words of the kubelet (tests/data/recordings).
"""

import datetime
import json
import subprocess
import threading
import time
import uuid


def stamp(ago=0.0):
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=ago)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Cluster:
    """The process behind examples/simulated_cluster.rs."""

    def __init__(self, binary, kubeconfig):
        self.lock = threading.Lock()
        self.process = subprocess.Popen([binary, str(kubeconfig)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def happens(self, kind, obj):
        with self.lock:
            self.process.stdin.write(json.dumps({"type": kind, "object": obj}) + "\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == "ok\n"

    def all_happen(self, objects):
        """Very many at once: nobody waits for each."""
        def write():
            for obj in objects:
                self.process.stdin.write(json.dumps({"type": "ADDED", "object": obj}) + "\n")
            self.process.stdin.flush()

        with self.lock:
            writer = threading.Thread(target=write)
            writer.start()
            for _ in objects:
                assert self.process.stdout.readline() == "ok\n"
            writer.join()

    def apply(self, obj):
        self.happens("MODIFIED", obj)

    def delete(self, obj):
        self.happens("DELETED", obj)

    def close(self):
        """Ends it, and tells what it was asked for: verb and resource."""
        self.process.stdin.close()
        asked = self.process.stdout.read().splitlines()
        self.process.wait(10)
        return {tuple(line.split(" ", 1)) for line in asked}


class Deployment:
    def __init__(self, cluster, namespace, name, replicas, limit="128Mi", labels={}, annotations={}):
        self.cluster, self.namespace, self.name, self.limit = cluster, namespace, name, limit
        self.replicas = replicas
        self.uid, self.set_uid = str(uuid.uuid4()), str(uuid.uuid4())
        self.set_name = f"{name}-7d9f6c5b4"
        self.made = 0
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {}}
        meta = {"namespace": namespace, "labels": {"app": name}, "generation": 1}
        status = {"replicas": replicas, "observedGeneration": 1}
        own = {**meta, "name": name, "uid": self.uid, "labels": {"app": name, **labels}, "annotations": annotations}
        cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": own, "spec": spec, "status": status})
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": self.uid, "controller": True}
        own = {**meta, "name": self.set_name, "uid": self.set_uid, "ownerReferences": [owner]}
        cluster.apply({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": own, "spec": spec, "status": status})

    def pod(self, age=0.0):
        self.made += 1
        return Pod(self, f"{self.set_name}-{self.made:05d}", age)


class Pod:
    def __init__(self, deployment, name, age):
        self.cluster, self.container = deployment.cluster, deployment.name
        self.restarts, self.last, self.since = 0, {}, stamp(age)
        self.image = f"registry.example.com/shop/{deployment.name}:2.4.1"
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": deployment.set_name, "uid": deployment.set_uid, "controller": True}
        self.meta = {
            "namespace": deployment.namespace,
            "name": name,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": self.since,
            "labels": {"app": deployment.name, "pod-template-hash": "7d9f6c5b4"},
            "ownerReferences": [owner],
        }
        resources = {"limits": {"memory": deployment.limit}, "requests": {"memory": deployment.limit}}
        container = {"name": self.container, "image": self.image, "resources": resources, "imagePullPolicy": "IfNotPresent"}
        self.spec = {"nodeName": "node-a", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "containers": [container]}

    def show(self, state, ready=False, phase="Running"):
        now = stamp()
        yes, no = {"status": "True", "lastTransitionTime": self.since}, {"status": "False", "lastTransitionTime": now}
        unready = {**no, "reason": "ContainersNotReady", "message": f"containers with unready status: [{self.container}]"}
        conditions = [
            {"type": "PodReadyToStartContainers", **yes},
            {"type": "Initialized", **yes},
            {"type": "Ready", **(yes if ready else unready)},
            {"type": "ContainersReady", **(yes if ready else unready)},
            {"type": "PodScheduled", **yes},
        ]
        status = {
            "name": self.container,
            "state": state,
            "lastState": self.last,
            "ready": ready,
            "started": "running" in state,
            "restartCount": self.restarts,
            "image": self.image,
            "imageID": "",
            "containerID": f"containerd://{uuid.uuid4().hex * 2}",
        }
        pod_status = {"phase": phase, "conditions": conditions, "startTime": self.since, "hostIP": "10.0.0.1", "containerStatuses": [status]}
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": self.meta, "spec": self.spec, "status": pod_status})

    def runs(self, ready=True):
        self.started = stamp()
        self.show({"running": {"startedAt": self.started}}, ready)

    def ends(self, code, reason):
        id = f"containerd://{uuid.uuid4().hex * 2}"
        end = {"exitCode": code, "reason": reason, "startedAt": self.started, "finishedAt": stamp(), "containerID": id}
        return {"terminated": end}

    def is_killed_for_memory(self):
        """Ends and runs again before anybody has looked: one update."""
        self.last = self.ends(137, "OOMKilled")
        self.restarts += 1
        self.runs()

    def crashes(self):
        """One round of a crash loop, with the waits shortened."""
        self.runs(ready=False)
        time.sleep(1)
        state = self.ends(1, "Error")
        self.show(state)
        time.sleep(0.2)
        self.last = state
        if self.restarts > 0:  # the first time the kubelet restarts it at once
            message = f"back-off 10s restarting failed container={self.container} pod={self.meta['name']}_{self.meta['namespace']}({self.meta['uid']})"
            self.show({"waiting": {"reason": "CrashLoopBackOff", "message": message}})
            time.sleep(2)
        self.restarts += 1

    def finds_no_image(self):
        message = (
            f'Back-off pulling image "{self.image}": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image '
            f'"{self.image}": failed to resolve image: {self.image}: not found'
        )
        self.show({"waiting": {"reason": "ImagePullBackOff", "message": message}}, phase="Pending")

    def misses_its_config(self):
        self.show({"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "app-config" not found'}}, phase="Pending")

    def is_deleted(self):
        self.cluster.delete({"apiVersion": "v1", "kind": "Pod", "metadata": self.meta})


class CrashLoops:
    """Pods that crash until told to stop."""

    def __init__(self, *pods):
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.loop, args=(pod,)) for pod in pods]
        for thread in self.threads:
            thread.start()

    def loop(self, pod):
        while not self.over.is_set():
            pod.crashes()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
