//! Kubernetes' protobuf, written from the objects' JSON by a table of field numbers.
//!
//! The table is the simulator's own, and whole: what KubeHealer's slim types do not read is written too, so that reading
//! them is tested against another hand's numbers, and costs what it costs against a real server. A test holds the table
//! against recorded answers of a real API server.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Field numbers as in `generated.proto` of `k8s.io/api` and `k8s.io/apimachinery`: JSON name, number, type. Types: `s`tring,
/// `i`nteger, `b`oolean, `t`ime, `Q`uantity, `x` int or string, `f`ieldsV1, `m`ap of strings, `q` map of quantities, or a
/// message; `*` is a list, and the name `@` a message whose fields stand directly in the JSON object.
const TABLE: &str = "
ListMeta resourceVersion:2:s continue:3:s remainingItemCount:4:i
PodList metadata:1:ListMeta items:2:*Pod
EventList metadata:1:ListMeta items:2:*Event
Status metadata:1:ListMeta status:2:s message:3:s reason:4:s details:5:StatusDetails code:6:i
StatusDetails name:1:s group:2:s kind:3:s retryAfterSeconds:5:i uid:6:s
ObjectMeta name:1:s generateName:2:s namespace:3:s uid:5:s resourceVersion:6:s generation:7:i creationTimestamp:8:t \
deletionTimestamp:9:t deletionGracePeriodSeconds:10:i labels:11:m annotations:12:m ownerReferences:13:*OwnerReference \
finalizers:14:*s managedFields:17:*ManagedFields
OwnerReference kind:1:s name:3:s uid:4:s apiVersion:5:s controller:6:b blockOwnerDeletion:7:b
ManagedFields manager:1:s operation:2:s apiVersion:3:s time:4:t fieldsType:6:s fieldsV1:7:f subresource:8:s
Event metadata:1:ObjectMeta involvedObject:2:Reference reason:3:s message:4:s source:5:EventSource firstTimestamp:6:t \
lastTimestamp:7:t count:8:i type:9:s eventTime:10:t series:11:EventSeries action:12:s related:13:Reference \
reportingComponent:14:s reportingInstance:15:s
EventSource component:1:s host:2:s
EventSeries count:1:i lastObservedTime:2:t
Reference kind:1:s namespace:2:s name:3:s uid:4:s apiVersion:5:s resourceVersion:6:s fieldPath:7:s
Pod metadata:1:ObjectMeta spec:2:PodSpec status:3:PodStatus
PodSpec volumes:1:*Volume containers:2:*Container restartPolicy:3:s terminationGracePeriodSeconds:4:i \
activeDeadlineSeconds:5:i dnsPolicy:6:s nodeSelector:7:m serviceAccountName:8:s serviceAccount:9:s nodeName:10:s \
hostNetwork:11:b hostPID:12:b hostIPC:13:b securityContext:14:PodSecurity imagePullSecrets:15:*Local hostname:16:s \
subdomain:17:s affinity:18:Affinity schedulerName:19:s initContainers:20:*Container automountServiceAccountToken:21:b \
tolerations:22:*Toleration priorityClassName:24:s priority:25:i shareProcessNamespace:27:b readinessGates:28:*Gate \
runtimeClassName:29:s enableServiceLinks:30:b preemptionPolicy:31:s ephemeralContainers:34:*Ephemeral \
setHostnameAsFQDN:35:b schedulingGates:38:*Local
Gate conditionType:1:s
Affinity nodeAffinity:1:NodeAffinity
NodeAffinity requiredDuringSchedulingIgnoredDuringExecution:1:NodeSelector
NodeSelector nodeSelectorTerms:1:*NodeTerm
NodeTerm matchExpressions:1:*NodeRule matchFields:2:*NodeRule
NodeRule key:1:s operator:2:s values:3:*s
Local name:1:s
Toleration key:1:s operator:2:s value:3:s effect:4:s tolerationSeconds:5:i
PodSecurity runAsUser:2:i runAsNonRoot:3:b supplementalGroups:4:*i fsGroup:5:i runAsGroup:6:i sysctls:7:*Sysctl \
seccompProfile:10:Seccomp
Sysctl name:1:s value:2:s
Seccomp type:1:s localhostProfile:2:s
Container name:1:s image:2:s command:3:*s args:4:*s workingDir:5:s ports:6:*Port env:7:*Env resources:8:Resources \
volumeMounts:9:*Mount livenessProbe:10:Probe readinessProbe:11:Probe lifecycle:12:Lifecycle terminationMessagePath:13:s \
imagePullPolicy:14:s securityContext:15:Security stdin:16:b stdinOnce:17:b tty:18:b envFrom:19:*EnvFrom \
terminationMessagePolicy:20:s startupProbe:22:Probe resizePolicy:23:*Resize restartPolicy:24:s restartPolicyRules:25:*Rule
Ephemeral @:1:Container targetContainerName:2:s
Rule action:1:s exitCodes:2:RuleCodes
RuleCodes operator:1:s values:2:*i
Resize resourceName:1:s restartPolicy:2:s
Port name:1:s hostPort:2:i containerPort:3:i protocol:4:s hostIP:5:s
Env name:1:s value:2:s valueFrom:3:EnvSource
EnvSource fieldRef:1:FieldRef resourceFieldRef:2:ResourceRef configMapKeyRef:3:KeyRef secretKeyRef:4:KeyRef
FieldRef apiVersion:1:s fieldPath:2:s
ResourceRef containerName:1:s resource:2:s divisor:3:Q
KeyRef @:1:Local key:2:s optional:3:b
EnvFrom prefix:1:s configMapRef:2:EnvFromRef secretRef:3:EnvFromRef
EnvFromRef @:1:Local optional:2:b
Resources limits:1:q requests:2:q
Mount name:1:s readOnly:2:b mountPath:3:s subPath:4:s mountPropagation:5:s subPathExpr:6:s recursiveReadOnly:7:s
Probe @:1:Handler initialDelaySeconds:2:i timeoutSeconds:3:i periodSeconds:4:i successThreshold:5:i failureThreshold:6:i \
terminationGracePeriodSeconds:7:i
Handler exec:1:Exec httpGet:2:HttpGet tcpSocket:3:Tcp grpc:4:Grpc
Exec command:1:*s
HttpGet path:1:s port:2:x host:3:s scheme:4:s httpHeaders:5:*Header
Header name:1:s value:2:s
Tcp port:1:x host:2:s
Grpc port:1:i service:2:s
Lifecycle postStart:1:Hook preStop:2:Hook stopSignal:3:s
Hook exec:1:Exec httpGet:2:HttpGet tcpSocket:3:Tcp sleep:4:Sleep
Sleep seconds:1:i
Security capabilities:1:Capabilities privileged:2:b runAsUser:4:i runAsNonRoot:5:b readOnlyRootFilesystem:6:b \
allowPrivilegeEscalation:7:b runAsGroup:8:i procMount:9:s seccompProfile:11:Seccomp
Capabilities add:1:*s drop:2:*s
Volume name:1:s @:2:VolumeSource
VolumeSource hostPath:1:HostPath emptyDir:2:EmptyDir secret:6:SecretVolume persistentVolumeClaim:10:Claim \
downwardAPI:16:DownwardVolume configMap:19:MapVolume projected:26:Projected csi:28:Csi ephemeral:29:EphemeralVolume \
image:30:ImageVolume
HostPath path:1:s type:2:s
EmptyDir medium:1:s sizeLimit:2:Q
SecretVolume secretName:1:s items:2:*KeyPath defaultMode:3:i optional:4:b
Claim claimName:1:s readOnly:2:b
DownwardVolume items:1:*DownwardFile defaultMode:2:i
MapVolume @:1:Local items:2:*KeyPath defaultMode:3:i optional:4:b
Csi driver:1:s readOnly:2:b fsType:3:s volumeAttributes:4:m
EphemeralVolume volumeClaimTemplate:1:ClaimTemplate
ClaimTemplate metadata:1:ObjectMeta
ImageVolume reference:1:s pullPolicy:2:s
KeyPath key:1:s path:2:s mode:3:i
Projected sources:1:*Projection defaultMode:2:i
Projection secret:1:ProjectedKeys downwardAPI:2:DownwardVolume configMap:3:ProjectedKeys serviceAccountToken:4:Token
ProjectedKeys @:1:Local items:2:*KeyPath optional:4:b
DownwardFile path:1:s fieldRef:2:FieldRef resourceFieldRef:3:ResourceRef mode:4:i
Token audience:1:s expirationSeconds:2:i path:3:s
PodStatus phase:1:s conditions:2:*Condition message:3:s reason:4:s hostIP:5:s podIP:6:s startTime:7:t \
containerStatuses:8:*ContainerStatus qosClass:9:s initContainerStatuses:10:*ContainerStatus nominatedNodeName:11:s \
podIPs:12:*Ip ephemeralContainerStatuses:13:*ContainerStatus resize:14:s hostIPs:16:*Ip observedGeneration:17:i
Ip ip:1:s
Condition type:1:s status:2:s lastProbeTime:3:t lastTransitionTime:4:t reason:5:s message:6:s observedGeneration:7:i
ContainerStatus name:1:s state:2:State lastState:3:State ready:4:b restartCount:5:i image:6:s imageID:7:s containerID:8:s \
started:9:b allocatedResources:10:q resources:11:Resources volumeMounts:12:*MountStatus user:13:User \
allocatedResourcesStatus:14:*ResourceStatus stopSignal:15:s
State waiting:1:Waiting running:2:Running terminated:3:Terminated
Waiting reason:1:s message:2:s
Running startedAt:1:t
Terminated exitCode:1:i signal:2:i reason:3:s message:4:s startedAt:5:t finishedAt:6:t containerID:7:s
MountStatus name:1:s mountPath:2:s readOnly:3:b recursiveReadOnly:4:s
User linux:1:LinuxUser
LinuxUser uid:1:i gid:2:i supplementalGroups:3:*i
ResourceStatus name:1:s resources:2:*ResourceHealth
ResourceHealth resourceID:1:s health:2:s message:3:s
Unknown typeMeta:1:TypeMeta
TypeMeta apiVersion:1:s kind:2:s
AccessReview spec:2:AccessSpec
AccessSpec resourceAttributes:1:AccessTo
AccessTo namespace:1:s verb:2:s group:3:s version:4:s resource:5:s subresource:6:s name:7:s
";

/// What stands before every object that is not inside another one.
const MAGIC: &[u8] = b"k8s\0";

struct Field {
    name: &'static str,
    number: u64,
    kind: &'static str,
    list: bool,
}

static MESSAGES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter_map(|line| line.split_once(' '));
    let field = |text: &'static str| {
        let mut parts = text.split(':');
        let (name, number, kind) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let plain = kind.trim_start_matches('*');
        Some(Field { name, number, kind: plain, list: plain != kind })
    };
    lines.map(|(name, fields)| (name, fields.split_whitespace().filter_map(field).collect())).collect()
});

/// Whether objects of this kind can be written.
pub(super) fn knows(kind: &str) -> bool {
    matches!(kind, "Pod" | "Event")
}

/// The message of an object, without what stands around it.
pub fn message(kind: &str, object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    encode(kind, object, &mut out);
    out
}

/// An object as the body of an answer: the magic, and a `runtime.Unknown` that says what it is.
pub(super) fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 64);
    out.extend_from_slice(MAGIC);
    bytes(1, &message("TypeMeta", &json!({"apiVersion": api_version, "kind": kind})), &mut out);
    bytes(2, raw, &mut out);
    bytes(3, b"", &mut out);
    bytes(4, b"", &mut out);
    out
}

/// The beginning of a list's message; the items follow, each with [`item`].
pub(super) fn list_head(metadata: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(1, &message("ListMeta", metadata), &mut out);
    out
}

/// One item of a list's message.
pub(super) fn item(object: &[u8], out: &mut Vec<u8>) {
    bytes(2, object, out);
}

/// One frame of a watch: its length in four bytes, the most significant first, and a `WatchEvent`.
pub(super) fn frame(event: &str, enveloped: &[u8], out: &mut Vec<u8>) {
    let mut object = Vec::with_capacity(enveloped.len() + 8);
    bytes(1, enveloped, &mut object);
    let mut message = Vec::with_capacity(object.len() + 24);
    bytes(1, event.as_bytes(), &mut message);
    bytes(2, &object, &mut message);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&message);
}

fn encode(message: &str, value: &Value, out: &mut Vec<u8>) {
    for field in MESSAGES.get(message).into_iter().flatten() {
        if field.name == "@" {
            let mut nested = Vec::new();
            encode(field.kind, value, &mut nested);
            bytes(field.number, &nested, out);
            continue;
        }
        match value.get(field.name) {
            None => {}
            Some(Value::Array(items)) if field.list => items.iter().for_each(|item| write(field, item, out)),
            Some(_) if field.list => {}
            Some(value) => write(field, value, out),
        }
    }
}

fn write(field: &Field, value: &Value, out: &mut Vec<u8>) {
    let number = field.number;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let quantity = |value: &Value| {
        let mut nested = Vec::new();
        bytes(1, text(value).as_bytes(), &mut nested);
        nested
    };
    match field.kind {
        // An absent time that is not a pointer in Go is an empty message.
        "t" => bytes(number, &time(value), out),
        _ if value.is_null() => {}
        "s" => bytes(number, text(value).as_bytes(), out),
        "i" => integer(number, value.as_i64().unwrap_or(0), out),
        "b" => integer(number, i64::from(value.as_bool().unwrap_or(false)), out),
        "Q" => bytes(number, &quantity(value), out),
        "x" => {
            let mut nested = Vec::new();
            match value.as_i64() {
                Some(port) => {
                    integer(1, 0, &mut nested);
                    integer(2, port, &mut nested);
                }
                None => {
                    integer(1, 1, &mut nested);
                    bytes(3, text(value).as_bytes(), &mut nested);
                }
            }
            bytes(number, &nested, out);
        }
        "f" => {
            let mut nested = Vec::new();
            bytes(1, value.to_string().as_bytes(), &mut nested);
            bytes(number, &nested, out);
        }
        kind @ ("m" | "q") => {
            for (key, value) in value.as_object().into_iter().flatten() {
                let mut entry = Vec::new();
                bytes(1, key.as_bytes(), &mut entry);
                match kind {
                    "m" => bytes(2, text(value).as_bytes(), &mut entry),
                    _ => bytes(2, &quantity(value), &mut entry),
                }
                bytes(number, &entry, out);
            }
        }
        message => {
            let mut nested = Vec::new();
            encode(message, value, &mut nested);
            bytes(number, &nested, out);
        }
    }
}

fn time(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(time) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        integer(1, time.as_second(), &mut out);
        integer(2, time.subsec_nanosecond().into(), &mut out);
    }
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn integer(number: u64, value: i64, out: &mut Vec<u8>) {
    varint(number << 3, out);
    varint(value.cast_unsigned(), out);
}

fn bytes(number: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Reads the object of a request body that begins with the magic.
pub(super) fn decode_enveloped(message: &str, body: &[u8]) -> Option<Value> {
    let raw = fields(body.strip_prefix(MAGIC)?)?.into_iter().find(|(number, _)| *number == 2)?;
    decode(message, raw.1.bytes()?)
}

enum Wire<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Integer(_) => None,
        }
    }
}

fn fields(mut rest: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let tag = read_varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Wire::Integer(read_varint(&mut rest)?),
            2 => {
                let length = usize::try_from(read_varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Wire::Bytes(bytes)
            }
            _ => return None,
        };
        found.push((tag >> 3, value));
    }
    Some(found)
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The JSON of a message, less what is empty or zero.
fn decode(message: &str, body: &[u8]) -> Option<Value> {
    let mut object = Map::new();
    for (number, wire) in fields(body)? {
        let Some(field) = MESSAGES.get(message)?.iter().find(|field| field.number == number) else {
            continue;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let inner = |bytes: &[u8], number: u64| -> Option<Value> {
            let found = fields(bytes)?.into_iter().find(|(n, _)| *n == number);
            Some(match found {
                Some((_, Wire::Bytes(bytes))) => json!(text(bytes)),
                Some((_, Wire::Integer(value))) => json!(value.cast_signed()),
                None => Value::Null,
            })
        };
        let value = match (field.kind, wire) {
            ("i", Wire::Integer(value)) => json!(value.cast_signed()),
            ("b", Wire::Integer(value)) => json!(value != 0),
            ("s", Wire::Bytes(bytes)) => json!(text(bytes)),
            ("Q", Wire::Bytes(bytes)) => inner(bytes, 1)?,
            ("x", Wire::Bytes(bytes)) => match inner(bytes, 1)? {
                kind if kind == 1 => inner(bytes, 3)?,
                _ => inner(bytes, 2)?,
            },
            ("f", Wire::Bytes(bytes)) => serde_json::from_str(inner(bytes, 1)?.as_str()?).ok()?,
            ("t", Wire::Bytes(bytes)) => match (inner(bytes, 1)?.as_i64(), inner(bytes, 2)?.as_i64()) {
                (None, _) => Value::Null,
                (Some(seconds), nanos) => {
                    let nanos = nanos.unwrap_or(0);
                    let time = Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()?;
                    json!(if nanos == 0 { super::cluster::seconds(time) } else { format!("{time:.6}") })
                }
            },
            (kind @ ("m" | "q"), Wire::Bytes(bytes)) => {
                let entry = fields(bytes)?;
                let at =
                    |number: u64| entry.iter().find(|(n, _)| *n == number).and_then(|(_, wire)| wire.bytes());
                let value = at(2).unwrap_or_default();
                let value = if kind == "m" { json!(text(value)) } else { inner(value, 1)? };
                let map = object.entry(field.name).or_insert_with(|| json!({}));
                map[text(at(1).unwrap_or_default())] = value;
                continue;
            }
            (message, Wire::Bytes(bytes)) => decode(message, bytes)?,
            (_, Wire::Integer(_)) => return None,
        };
        if field.name == "@" {
            object.extend(value.as_object().cloned().unwrap_or_default());
        } else if field.list {
            let list = object.entry(field.name).or_insert_with(|| json!([]));
            list.as_array_mut()?.push(value);
        } else if !matches!(&value, Value::Null | Value::Bool(false))
            && value != 0
            && value != ""
            && value != json!({})
        {
            object.insert(field.name.to_owned(), value);
        }
    }
    Some(Value::Object(object))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn recorded(file: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../../tests/data/recordings/protobuf/{file}", env!("CARGO_MANIFEST_DIR")))
            .unwrap()
    }

    /// Less what is empty or zero, which protobuf cannot tell from absent, and what the table leaves out.
    fn bare(value: &Value, path: &str) -> Option<Value> {
        const LEFT_OUT: [&str; 5] = [
            "/items[]/apiVersion",
            "/items[]/kind",
            "/items[]/status/resources",
            "/items[]/status/allocatedResources",
            "/items[]/spec/resources",
        ];
        if LEFT_OUT.contains(&path) || matches!(path, "/kind" | "/apiVersion") {
            return None;
        }
        match value {
            Value::Object(map) if !path.ends_with("/fieldsV1") => {
                let entries =
                    map.iter().filter_map(|(k, v)| Some((k.clone(), bare(v, &format!("{path}/{k}"))?)));
                Some(Value::Object(entries.collect::<Map<_, _>>())).filter(|v| *v != json!({}))
            }
            Value::Array(items) => {
                let path = format!("{path}[]");
                let items: Vec<_> = items.iter().map(|v| bare(v, &path).unwrap_or(json!({}))).collect();
                Some(json!(items)).filter(|v| *v != json!([]))
            }
            Value::Null | Value::Bool(false) => None,
            other if *other == 0 || *other == "" => None,
            other => Some(other.clone()),
        }
    }

    #[track_caller]
    fn same(left: &Value, right: &Value, path: &str) {
        match (left, right) {
            (Value::Object(l), Value::Object(r)) => {
                for key in l.keys().chain(r.keys()) {
                    same(
                        l.get(key).unwrap_or(&Value::Null),
                        r.get(key).unwrap_or(&Value::Null),
                        &format!("{path}/{key}"),
                    );
                }
            }
            (Value::Array(l), Value::Array(r)) if l.len() == r.len() => {
                l.iter().zip(r).enumerate().for_each(|(at, (l, r))| same(l, r, &format!("{path}/{at}")));
            }
            _ => assert_eq!(left, right, "at {path}"),
        }
    }

    #[test]
    fn the_field_numbers_are_those_of_a_real_api_server() {
        for (name, kind) in [
            ("pods-batch", "PodList"),
            ("pods-payments", "PodList"),
            ("pods-platform", "PodList"),
            ("events", "EventList"),
        ] {
            let json: Value = serde_json::from_slice(&recorded(&format!("{name}.json"))).unwrap();
            let json = bare(&json, "").unwrap();
            let real = decode_enveloped(kind, &recorded(&format!("{name}.pb"))).unwrap();
            same(&bare(&real, "").unwrap(), &json, name);
            let ours = enveloped("v1", kind, &message(kind, &json));
            let ours = decode_enveloped(kind, &ours).unwrap();
            same(&bare(&ours, "").unwrap(), &json, name);
        }
    }
}
