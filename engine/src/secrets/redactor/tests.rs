//! No secret survives in any of the forms in which a server may repeat it, wherever it stands.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::json;
use surefoot_connector_api::{CallError, ErrorClass};

use super::super::Redactions;
use super::*;
use crate::journal::Outcome;

fn redactor(secrets: &[&str]) -> Redactor {
    Redactor::new(secrets.iter().map(|secret| (*secret).to_owned()))
}

fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    usize::try_from(rng.next_u64() % bound as u64).unwrap()
}

/// Signs that encoders treat differently.
const SIGNS: [&str; 24] = [
    "a", "Z", "0", "9", "-", "_", "+", "/", "=", "%", "&", "\"", "\\", "'", " ", "\n", "\t", "<", "ü", "ß", "€", "😀",
    "\u{1}", "%41",
];

fn random_text(rng: &mut ChaCha8Rng, signs: usize) -> String {
    (0..signs).map(|_| SIGNS[below(rng, SIGNS.len())]).collect()
}

/// Percent-encoded: each byte that must be, and some that need not be, with digits of either case.
fn percent(rng: &mut ChaCha8Rng, text: &str, is_form: bool) -> String {
    let encode = |byte: u8| match byte {
        b' ' if is_form => "+".to_owned(),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' if !rng.next_u64().is_multiple_of(4) => char::from(byte).to_string(),
        b'-' | b'_' | b'/' | b'=' | b'&' | b'\'' if rng.next_u64().is_multiple_of(2) => char::from(byte).to_string(),
        _ if rng.next_u64().is_multiple_of(2) => format!("%{byte:02x}"),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// JSON-escaped as short as can be, or for ASCII alone, or with escapes that need not be.
fn escaped(rng: &mut ChaCha8Rng, text: &str) -> String {
    let style = rng.next_u64() % 3;
    let escape = |character: char| {
        let short = serde_json::to_string(&character).unwrap();
        let short = short[1..short.len() - 1].to_owned();
        let mut units = [0; 2];
        let long: String = character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect();
        match (style, character) {
            (0, _) => short,
            (1, character) if character.is_ascii() => short,
            (1, _) => long,
            (_, '/') => "\\/".to_owned(),
            (_, '<') => long.to_ascii_uppercase().replace("\\U", "\\u"),
            (_, _) => short,
        }
    };
    text.chars().map(escape).collect()
}

/// A text with the secret in it, in one of the forms.
fn encoded(rng: &mut ChaCha8Rng, secret: &str) -> String {
    let around = [below(rng, 7), below(rng, 7)].map(|signs| random_text(rng, signs));
    let whole = format!("{}{secret}{}", around[0], around[1]);
    match below(rng, 11) {
        0 => whole,
        1 => percent(rng, &whole, false),
        2 => percent(rng, &whole, true),
        3 => escaped(rng, &whole),
        4 => STANDARD.encode(whole),
        5 => URL_SAFE.encode(whole),
        6 => [STANDARD_NO_PAD, URL_SAFE_NO_PAD][below(rng, 2)].encode(whole),
        7 => {
            let once = escaped(rng, &whole);
            escaped(rng, &once)
        }
        8 => STANDARD.encode(json!({ "a": whole }).to_string()),
        9 => {
            let once = percent(rng, &whole, false);
            escaped(rng, &once)
        }
        _ => {
            let once = STANDARD.encode(whole);
            percent(rng, &once, false)
        }
    }
}

/// What an attacker gets out of a text: everything that it may stand for.
fn readings(text: &str) -> Vec<Vec<u8>> {
    let mut readings = vec![text.as_bytes().to_vec()];
    for depth in 0..3 {
        for reading in readings.clone() {
            let view = View::new(&reading);
            readings.extend(DECODERS.iter().filter_map(|decoder| view.decoded(decoder)).map(|view| view.bytes.into()));
            let signs: String = reading.iter().map(|byte| char::from(*byte)).filter(|sign| *sign != '=').collect();
            readings.extend([STANDARD_NO_PAD, URL_SAFE_NO_PAD].iter().filter_map(|engine| engine.decode(&signs).ok()));
            readings.push(reading.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect());
        }
        readings.sort();
        readings.dedup();
        assert!(depth > 2 || readings.len() < 100_000);
    }
    readings
}

fn holds(text: &[u8], secret: &str) -> bool {
    text.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn no_secret_survives_in_any_form_at_any_place() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for round in 0..3000 {
        let signs = 4 + below(&mut rng, 30);
        let text = random_text(&mut rng, signs);
        let secret = text.trim();
        if secret.len() < SEARCHED_BYTES_MIN {
            continue;
        }
        let shown = encoded(&mut rng, secret);
        assert!(readings(&shown).iter().any(|reading| holds(reading, secret)), "round {round}: a bad test: {shown:?}");
        let redacted = redactor(&[&text]).text(&shown).into_owned();
        let left = readings(&redacted).into_iter().find(|reading| holds(reading, secret));
        assert_eq!(left, None, "round {round}: {secret:?} in {shown:?} is {redacted:?}");
        assert!(redacted.contains("***"), "round {round}: {redacted:?}");
    }
}

#[test]
fn base64_tells_nothing_of_a_secret_within() {
    let secret = "the s3cret value!";
    let redactor = redactor(&[secret]);
    for before in 0..7 {
        for after in 0..7 {
            let whole = format!("{}{secret}{}", "x".repeat(before), "y".repeat(after));
            for engine in [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let redacted = redactor.text(&engine.encode(&whole)).into_owned();
                let (left, right) = redacted.split_once("***").unwrap();
                // What is left stands for bytes around the secret alone.
                assert!(left.len() <= before * 8 / 6, "{before} {after} {redacted}");
                assert!(right.trim_end_matches('=').len() <= (after * 8).div_ceil(6), "{before} {after} {redacted}");
            }
        }
    }
}

#[test]
fn secrets_within_and_across_each_other_go_as_a_whole() {
    let redactor = redactor(&["abcdef", "cdefgh", "bcde", "pass word", "line one of it\nline two of it"]);
    for (text, redacted) in [
        ("xabcdefghx", "x***x"),
        ("bcde abcdef", "*** ***"),
        ("abcdefabcdef", "***"),
        ("pass+word pass%20word", "*** ***"),
        ("a\r\nline two of it\r\n", "a\r\n***\r\n"),
        ("nothing", "nothing"),
        ("", ""),
    ] {
        assert_eq!(redactor.text(text), redacted, "{text}");
    }
    assert!(matches!(redactor.text("nothing"), Cow::Borrowed(_)));
}

#[test]
fn documents_are_redacted_in_every_part() {
    let redactor = redactor(&["hunter2", "123456", "a\"b\"c"]);
    let mut document = json!({
        "hunter2": 1, "list": ["my hunter2", {"x": "aHVudGVyMg=="}], "number": 123456, "other": 1234567,
        "json": "{\"p\":\"a\\\"b\\\"c\"}",
    });
    redactor.value(&mut document);
    let expected = json!({
        "***": 1, "list": ["my ***", {"x": "***=="}], "number": "***", "other": 1234567, "json": "{\"p\":\"***\"}",
    });
    assert_eq!(document, expected);
}

#[test]
fn short_ones_are_not_searched_for() {
    let redactor = redactor(&["abc", " ab ", "***", ""]);
    assert!(redactor.is_empty() && redactor.knows("abc") && !redactor.knows("abcd"));
    assert_eq!(redactor.text("abc *** "), "abc *** ");
    let redactor = Redactor::new(["  padded \n".to_owned()]);
    assert!(redactor.knows("  padded \n"));
    assert_eq!(redactor.text("a padded value"), "a *** value");
}

fn redactions(secret: &str) -> Redactions {
    Redactions { redactors: vec![Arc::new(redactor(&[secret]))], hides_tokens: false }
}

#[test]
fn a_secret_that_the_end_of_an_output_goes_through_is_redacted() {
    let secret = "correct horse \"battery\" stäple";
    let redactions = redactions(secret);
    for whole in [secret.to_owned(), STANDARD.encode(format!("ab{secret}"))] {
        for end in 0..=whole.len() {
            let text = format!("it is {}", String::from_utf8_lossy(&whole.as_bytes()[..end]));
            let mut outcome = Outcome::Success(json!({"stdout": text, "truncated": true}).into());
            redactions.outcome(&mut outcome);
            let Outcome::Success(mut output) = outcome else { panic!("it is a success") };
            let shown = output.value_mut()["stdout"].as_str().unwrap().to_owned();
            // In base64, what holds some bits of something else comes before.
            let known = end.saturating_sub(if whole == secret { 0 } else { 3 });
            assert_eq!(known >= SEARCHED_BYTES_MIN, shown.ends_with(REDACTED), "{text:?} became {shown:?}");
            assert!(known < SEARCHED_BYTES_MIN || shown.len() < "it is *** and 3".len(), "{shown:?}");
        }
    }
    let mut whole = Outcome::Success(json!({"stdout": "it is correct"}).into());
    redactions.outcome(&mut whole);
    assert_eq!(whole, Outcome::Success(json!({"stdout": "it is correct"}).into()));
}

#[test]
fn a_message_is_put_on_a_line_and_cut_when_the_secrets_are_out() {
    let redactions = redactions("correct horse battery staple");
    let check = |message: String| {
        let mut outcome = Outcome::Failed(CallError::not_sent(ErrorClass::Refused, message));
        redactions.outcome(&mut outcome);
        let Outcome::Failed(error) = outcome else { panic!("it is a failure") };
        let rest = error.message.trim_start_matches('x').trim_start();
        assert!("*** and more".starts_with(rest.trim_end_matches('…')), "{rest:?}");
        assert!(error.message.chars().count() <= 1_001, "{rest:?}");
    };
    for before in 950..1_010 {
        check(format!("{} correct horse battery staple and more", "x".repeat(before)));
        // What is one after the white space has gone.
        check(format!("{} correct\r\n  horse b\x07attery\tstaple and more", "x".repeat(before)));
    }
    check("x correct horse battery st".to_owned());
}
