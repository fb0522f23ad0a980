//! The slim types read both encodings of the API alike, and fail on no content.

use std::path::Path;

use kubehealer::objects::{Object, Pod};

fn recording(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings").join(path)).unwrap()
}

#[derive(prost::Message, Clone, PartialEq)]
struct Unknown {
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(prost::Message, Clone, PartialEq)]
struct PodList {
    #[prost(message, repeated, tag = "2")]
    items: Vec<Pod>,
}

#[derive(serde::Deserialize)]
struct JsonList {
    items: Vec<Pod>,
}

#[test]
fn json_and_protobuf_give_equal_pods() {
    use prost::Message as _;
    for namespace in ["platform", "payments", "ml", "shop", "batch"] {
        let bytes = recording(&format!("protobuf/pods-{namespace}.pb"));
        let unknown = Unknown::decode(bytes.strip_prefix(b"k8s\0").unwrap()).unwrap();
        let mut binary = PodList::decode(unknown.raw.as_slice()).unwrap().items;
        let mut json: JsonList =
            serde_json::from_slice(&recording(&format!("protobuf/pods-{namespace}.json"))).unwrap();
        binary.iter_mut().chain(&mut json.items).for_each(Object::compact);
        assert!(!binary.is_empty());
        for (a, b) in binary.iter().zip(&json.items) {
            assert_eq!(a, b);
        }
        assert_eq!(binary.len(), json.items.len());
    }
}
