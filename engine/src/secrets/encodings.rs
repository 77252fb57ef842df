//! The forms in which a secret comes back: as it is, percent-encoded, JSON-escaped, in base64 alone or within something
//! longer. Texts are decoded, since what an encoder leaves as it is differs; for base64, whose text depends on the
//! place, there is a pattern for each of the three places that a byte can have.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Lines of a secret of several lines are looked for when they have this many bytes.
const LINE_BYTES_MIN: usize = 12;

/// Shorter parts of base64 stand in too many texts by chance.
const BASE64_BYTES_MIN: usize = 4;

/// Bytes to look for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    pub(super) bytes: Vec<u8>,
    /// How many signs of base64 around them hold some bits of the secret besides others.
    pub(super) before: usize,
    pub(super) after: usize,
}

/// What to look for in texts and in what they decode to.
pub(super) fn patterns(secret: &str) -> Vec<Pattern> {
    let plain = |text: &str| Pattern { bytes: text.as_bytes().to_vec(), before: 0, after: 0 };
    let mut patterns = vec![plain(secret)];
    if secret.contains(' ') {
        // As forms are encoded.
        patterns.push(plain(&secret.replace(' ', "+")));
    }
    if secret.contains('\n') {
        // Other ends of lines, or one line alone.
        patterns.extend(secret.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN).map(plain));
    }
    // A document in base64, such as a token's, has it escaped.
    for text in [secret.to_owned(), escape(secret), percent_encode(secret)] {
        patterns.extend(in_base64(text.as_bytes()));
    }
    patterns.sort();
    patterns.dedup();
    patterns
}

/// What of the bytes shows in base64, wherever they stand within something longer.
fn in_base64(bytes: &[u8]) -> impl Iterator<Item = Pattern> {
    let places = (0..3).flat_map(|shift| [(shift, &STANDARD_NO_PAD), (shift, &URL_SAFE_NO_PAD)]);
    places.filter_map(move |(shift, engine)| {
        let text = engine.encode([&[0; 2][..shift], bytes].concat());
        let bits = 8 * (shift + bytes.len());
        // Signs that hold bits of these bytes alone.
        let alone = text.as_bytes().get((8 * shift).div_ceil(6)..bits / 6)?;
        let (before, after) = (usize::from(shift > 0), usize::from(!bits.is_multiple_of(6)));
        (alone.len() >= BASE64_BYTES_MIN).then(|| Pattern { bytes: alone.to_vec(), before, after })
    })
}

/// As short as JSON can have it.
fn escape(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Everything but what never needs it.
fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Whether a text in base64 may hold that byte.
pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// A text, or what it decodes to, where each byte knows its place in the text.
pub(super) struct View<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// For each byte, and for the end, where in the text it begins. None when nothing was decoded.
    starts: Option<Vec<usize>>,
}

impl<'a> View<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(text), starts: None }
    }

    /// Where in the text these bytes stand.
    pub(super) fn in_text(&self, range: Range<usize>) -> Range<usize> {
        match &self.starts {
            None => range,
            Some(starts) => starts[range.start]..starts[range.end],
        }
    }

    /// What it decodes to; none where there is nothing to decode.
    pub(super) fn decoded(&self, decoder: &Decoder) -> Option<View<'static>> {
        let first = self.bytes.iter().position(|byte| *byte == decoder.mark)?;
        let (mut bytes, mut starts) = (self.bytes[..first].to_vec(), Vec::with_capacity(self.bytes.len() + 1));
        starts.extend((0..first).map(|at| self.in_text(at..at).start));
        let (mut at, mut is_changed) = (first, false);
        while let Some(byte) = self.bytes.get(at) {
            let start = self.in_text(at..at).start;
            let decoded = (*byte == decoder.mark).then(|| (decoder.decode)(&self.bytes[at + 1..])).flatten();
            is_changed |= decoded.is_some();
            let Decoded { taken, bytes: plain, length } = decoded.unwrap_or(Decoded::byte(0, *byte));
            bytes.extend_from_slice(&plain[..length]);
            starts.extend(std::iter::repeat_n(start, length));
            at += 1 + taken;
        }
        starts.push(self.in_text(at..at).start);
        is_changed.then_some(View { bytes: Cow::Owned(bytes), starts: Some(starts) })
    }
}

/// How an encoding marks what is encoded.
pub(super) struct Decoder {
    mark: u8,
    /// Of the bytes after the mark.
    decode: fn(&[u8]) -> Option<Decoded>,
}

/// What is undone, one after the other and within each other.
pub(super) const DECODERS: [Decoder; 2] =
    [Decoder { mark: b'%', decode: percent_decode }, Decoder { mark: b'\\', decode: unescape }];

/// What stood for one character.
struct Decoded {
    /// Bytes after the mark.
    taken: usize,
    bytes: [u8; 4],
    length: usize,
}

impl Decoded {
    fn byte(taken: usize, byte: u8) -> Self {
        Self { taken, bytes: [byte, 0, 0, 0], length: 1 }
    }

    fn character(taken: usize, character: char) -> Self {
        let mut bytes = [0; 4];
        let length = character.encode_utf8(&mut bytes).len();
        Self { taken, bytes, length }
    }
}

fn percent_decode(rest: &[u8]) -> Option<Decoded> {
    Some(Decoded::byte(2, u8::try_from(hexadecimal(rest, 2)?).ok()?))
}

/// As JSON escapes, and the languages that are like it.
fn unescape(rest: &[u8]) -> Option<Decoded> {
    let sign = *rest.first()?;
    Some(match sign {
        b'"' | b'\\' | b'/' | b'\'' => Decoded::byte(1, sign),
        b'b' => Decoded::byte(1, 8),
        b'f' => Decoded::byte(1, 12),
        b'n' => Decoded::byte(1, b'\n'),
        b'r' => Decoded::byte(1, b'\r'),
        b't' => Decoded::byte(1, b'\t'),
        b'x' => Decoded::byte(3, u8::try_from(hexadecimal(&rest[1..], 2)?).ok()?),
        b'u' => {
            let unit = hexadecimal(&rest[1..], 4)?;
            match char::from_u32(unit) {
                Some(character) => Decoded::character(5, character),
                // Half of a character, with the other half after it.
                None => {
                    let low = hexadecimal(rest[5..].strip_prefix(b"\\u")?, 4)?;
                    let pair = [u16::try_from(unit).ok()?, u16::try_from(low).ok()?];
                    Decoded::character(11, char::decode_utf16(pair).next()?.ok()?)
                }
            }
        }
        _ => return None,
    })
}

fn hexadecimal(text: &[u8], digits: usize) -> Option<u32> {
    let digits = text.get(..digits)?.iter().map(|digit| char::from(*digit).to_digit(16));
    digits.into_iter().try_fold(0, |number, digit| Some(16 * number + digit?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_knows_where_it_stood() {
        let [percent, json] = &DECODERS;
        for (decoder, text, plain) in [
            (percent, "a%2Fb%c3%bc%", "a/bü%"),
            (percent, "%zz%4", ""),
            (json, r#"a\"b\\n\/\u00fc\uD83D\ude00\x41\q"#, "a\"b\\n/ü😀A\\q"),
            (json, r"\ud83d\q", ""),
            (json, r"\u12", ""),
        ] {
            let view = View::new(text.as_bytes());
            match view.decoded(decoder) {
                None => assert_eq!(plain, "", "{text}"),
                Some(view) => assert_eq!(String::from_utf8_lossy(&view.bytes), plain, "{text}"),
            }
        }
        let once = View::new(br"x\u0025\u0034\u0031y").decoded(json).unwrap();
        let twice = once.decoded(percent).unwrap();
        assert_eq!((&*twice.bytes, twice.in_text(1..2)), (&b"xAy"[..], 1..19));
    }

    #[test]
    fn base64_is_searched_for_where_it_depends_on_the_secret_alone() {
        let found: Vec<_> = patterns("secret").into_iter().map(|p| String::from_utf8(p.bytes).unwrap()).collect();
        assert_eq!(found, ["NlY3Jld", "c2VjcmV0", "secret", "zZWNyZX"]);
        // In base64 also as JSON and as an address would have it.
        assert_eq!(patterns("se\"cret").len(), 1 + 3 * 3);
    }
}
