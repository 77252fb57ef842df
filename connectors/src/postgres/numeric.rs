//! Decimal numbers in the form in which the server sends them: digits to the base of 10000.

use super::values::Bytes;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;
/// How many decimal digits one digit of the number has.
const WIDTH: usize = 4;

/// The number with all digits of its scale.
pub(super) fn text(bytes: &mut Bytes<'_>) -> Result<String, String> {
    let count = bytes.u16()?;
    let weight = i32::from(bytes.i16()?);
    let sign = bytes.u16()?;
    let scale = usize::from(bytes.u16()?);
    match sign {
        NAN => return Ok("NaN".into()),
        INFINITY => return Ok("Infinity".into()),
        MINUS_INFINITY => return Ok("-Infinity".into()),
        _ => {}
    }
    let digits: Vec<u16> = (0..count).map(|_| bytes.u16()).collect::<Result<_, _>>()?;
    // The digit at `weight` places left of the point is the first that is sent; what is not sent is zero.
    let digit = |place: i32| usize::try_from(weight - place).ok().and_then(|index| digits.get(index)).unwrap_or(&0);
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", digit(place))).collect();
    let whole = whole.trim_start_matches('0');
    let groups = i32::try_from(scale.div_ceil(WIDTH)).unwrap_or(i32::MAX);
    let mut fraction: String = (1..=groups).map(|place| format!("{:04}", digit(-place))).collect();
    fraction.truncate(scale);
    let minus = if sign == NEGATIVE { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if scale == 0 { "" } else { "." };
    Ok(format!("{minus}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> String {
        let mut bytes = u16::try_from(digits.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        for part in [sign, scale].iter().chain(digits) {
            bytes.extend(part.to_be_bytes());
        }
        text(&mut Bytes::new(&bytes)).unwrap()
    }

    #[test]
    fn numbers_have_all_digits_of_their_scale() {
        assert_eq!(number(0, 0, 2, &[12, 5000]), "12.50");
        assert_eq!(number(0, NEGATIVE, 2, &[19, 9900]), "-19.99");
        assert_eq!(number(0, 0, 0, &[]), "0");
        assert_eq!(number(0, 0, 3, &[]), "0.000");
        assert_eq!(number(-1, 0, 4, &[5]), "0.0005");
        assert_eq!(number(-2, 0, 8, &[5]), "0.00000005");
        assert_eq!(number(1, 0, 0, &[1]), "10000");
        assert_eq!(number(2, 0, 1, &[1, 0, 42, 5000]), "100000042.5");
        assert_eq!(number(0, NAN, 0, &[]), "NaN");
        assert_eq!(number(0, MINUS_INFINITY, 0, &[]), "-Infinity");
    }

    #[test]
    fn a_number_that_is_cut_is_no_number() {
        assert!(text(&mut Bytes::new(&[0, 2, 0, 0, 0, 0, 0, 2, 0, 12])).is_err());
    }
}
