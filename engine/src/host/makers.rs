//! What a component says of itself: with which languages and tools it was made.

use wasmparser::{BinaryReader, Parser, Payload, ProducersSectionReader};

/// A name or a version that a component tells, bytes at most.
const TEXT_BYTES_MAX: usize = 100;

/// What is told at most.
const MAKERS_MAX: usize = 50;

/// A language or a tool with which a component was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// `language`, `sdk` or `processed-by`.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its version; empty where none is told.
    pub version: String,
}

/// What a component tells in its `producers` sections, each once, in its order. Nothing proves that it is true.
pub fn made_with(component: &[u8]) -> Vec<Maker> {
    let mut makers = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let Ok(Payload::CustomSection(section)) = payload else { continue };
        if section.name() != "producers" {
            continue;
        }
        let Ok(fields) = ProducersSectionReader::new(BinaryReader::new(section.data(), 0)) else { continue };
        for field in fields.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let cut = |text: &str| text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned();
                let maker = Maker { role: cut(field.name), name: cut(value.name), version: cut(value.version) };
                if makers.len() < MAKERS_MAX && !makers.contains(&maker) {
                    makers.push(maker);
                }
            }
        }
    }
    makers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_tells_nothing() {
        for bytes in [&b""[..], b"nothing", b"\0asm\x0d\0\x01\0", b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\x0f"] {
            assert_eq!(made_with(bytes), []);
        }
    }

    #[test]
    fn each_maker_is_told_once() {
        // A component with two custom sections: `producers`, one field `language` with the value `Rust` `1.92`.
        let section = b"\x00\x1f\x09producers\x01\x08language\x01\x04Rust\x041.92";
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        component.extend_from_slice(section);
        component.extend_from_slice(section);
        let rust = Maker { role: "language".into(), name: "Rust".into(), version: "1.92".into() };
        assert_eq!(made_with(&component), [rust]);
    }
}
