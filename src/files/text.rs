//! Text as shells and tools write it, and what it is if it holds no objects.

use std::io::{self, Read};
use std::sync::LazyLock;

use regex::Regex;

use super::HOW_TO_DUMP;

/// What is written for people: how it begins, what it is, and what to give instead.
const FOR_PEOPLE: [(&str, &str, &str); 3] = [
    (
        r"\A\s*Name:[ \t]+\S",
        "text of kubectl describe, which leaves out what a diagnosis needs",
        "pass the object itself: kubectl get pod NAME -o yaml; and its events: kubectl get events -o yaml",
    ),
    (
        r"\A\s*(?:NAMESPACE\s+)?(?:NAME|LAST SEEN)[ \t]{2,}[A-Z]",
        "a table of kubectl get, which leaves out what a diagnosis needs",
        "pass the objects themselves: kubectl get pods,events -o yaml",
    ),
    (
        r#"(?x)\A\s*(?:
            \[?\d{4}[-/]\d\d[-/]\d\d[T\ ]\d\d: | [IWEF]\d{4}\ \d\d: | \[?(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL)\b
            | (?:time|ts|level)=\S | panic:\ | Traceback\ | \{"(?:@?timestamp|time|ts|level|severity|msg|message|log)":
        )"#,
        "a log whose file name does not say which container wrote it",
        "pass a directory with the pod, as kubectl get pod NAME -o yaml writes it, and the log as NAMESPACE.POD.CONTAINER.previous.log",
    ),
];

/// What a text is that tools write for people, and what to give instead.
pub(super) fn for_people(text: &str) -> Option<(&'static str, &'static str)> {
    static PATTERNS: LazyLock<Vec<Option<Regex>>> =
        LazyLock::new(|| FOR_PEOPLE.iter().map(|(pattern, ..)| Regex::new(pattern).ok()).collect());
    let is = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|pattern| pattern.is_match(text));
    PATTERNS.iter().zip(FOR_PEOPLE).find(|(pattern, _)| is(pattern)).map(|(_, (_, what, hint))| (what, hint))
}

/// Whether a file whose name does not tell begins as objects do.
pub(super) fn begins_as_objects(head: &[u8]) -> bool {
    static BEGINNING: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"\A(?:\s|#.*\n|---)*(?:\{\s*"|\[\s*\{|(?:apiVersion|kind|items|metadata):)"#).ok()
    });
    let text = decode(head.to_vec());
    BEGINNING.as_ref().is_some_and(|beginning| text.is_ok_and(|text| beginning.is_match(&text)))
}

/// What a file is instead of text, and what to do about it.
type NoText = (&'static str, &'static str);

const BINARY: NoText = ("neither JSON nor YAML, but binary", HOW_TO_DUMP);

/// Reads a text to its end, and no further than to what shows that it is binary.
pub(super) fn read(mut input: impl Read) -> io::Result<Result<Vec<u8>, NoText>> {
    const CHUNK: u64 = 1 << 20;
    let mut bytes = Vec::new();
    loop {
        let from = bytes.len();
        if input.by_ref().take(CHUNK).read_to_end(&mut bytes)? == 0 {
            return Ok(Ok(bytes));
        }
        let is_utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        if bytes.starts_with(PROTOBUF) {
            return Ok(decode(bytes).map(String::into_bytes));
        }
        if !is_utf16 && bytes.get(from..).is_some_and(|chunk| chunk.contains(&0)) {
            return Ok(Err(BINARY));
        }
    }
}

/// What Kubernetes' protobuf begins with.
const PROTOBUF: &[u8] = b"k8s\0";

/// Text as shells and tools write it: UTF-8, or the UTF-16 of PowerShell's `>`.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, NoText> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest
            .chunks_exact(2)
            .map(|pair| unit([pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => return Ok(utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => return Ok(utf16(rest, u16::from_be_bytes)),
        _ => {}
    }
    if bytes.starts_with(PROTOBUF) {
        return Err(("Kubernetes' protobuf encoding", "write it as JSON: kubectl get ... -o json"));
    }
    if bytes.contains(&0) {
        return Err(BINARY);
    }
    let text =
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_powershell_is_read_and_binary_is_named() {
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("{\"kind\":\"Pod\"}".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert!(begins_as_objects(&utf16));
        assert_eq!(decode(utf16).as_deref(), Ok("{\"kind\":\"Pod\"}"));
        assert_eq!(decode(b"\xef\xbb\xbf{}".to_vec()).as_deref(), Ok("{}"));
        assert!(decode(b"abc\0def".to_vec()).is_err());
    }

    #[test]
    fn objects_are_told_from_what_is_written_for_people() {
        for text in ["{\n  \"apiVersion\": \"v1\"", "---\napiVersion: v1\n", "# a\nkind: Pod\n", "[{\"kind\""]
        {
            assert!(begins_as_objects(text.as_bytes()) && for_people(text).is_none(), "{text}");
        }
        for text in [
            "Name:             cart-1\nNamespace:        shop\n",
            "NAME     READY   STATUS\n",
            "NAMESPACE   NAME     READY\n",
            "LAST SEEN   TYPE      REASON\n",
            "2026-11-22T10:00:00Z starting\n",
            "[2026-11-22 10:00:00,123] ERROR x\n",
            "I1122 10:00:00.1 1 main.go:1] x\n",
            "[INFO] plugin/ready\n",
            "{\"level\":\"info\",\"msg\":\"x\"}\n",
        ] {
            assert!(for_people(text).is_some(), "{text}");
        }
        assert!(!begins_as_objects(b"[section]\nkey = 1\n") && !begins_as_objects(b"hello"));
    }
}
