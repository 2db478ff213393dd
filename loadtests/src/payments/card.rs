//! Card numbers that no bank has issued: random, valid by Luhn, and with the outcome that a flow asks for.

use crate::draw::Draw;

/// Endings that the scripted card network answers in a way of its own; a number with another ending is approved.
const SCRIPTED: [&str; 13] =
    ["0002", "9995", "0069", "0127", "9987", "0119", "3063", "3055", "3071", "3089", "3097", "4242", "0000"];
/// The ending that the network answers with `do_not_honor`.
const DECLINED: &str = "0002";

/// Sixteen digits that are approved, different for nearly every draw (10^11 of them).
pub fn approved(draw: &mut Draw) -> String {
    loop {
        let body = format!("4{:014}", draw.below(100_000_000_000_000));
        let number = format!("{body}{}", check_digit(&body));
        if !SCRIPTED.contains(&&number[12..]) {
            return number;
        }
    }
}

/// Sixteen digits that are declined: the last but four makes the fixed ending valid.
pub fn declined(draw: &mut Draw) -> String {
    let head = format!("4{:010}", draw.below(10_000_000_000));
    let number = |digit: u8| format!("{head}{digit}{DECLINED}");
    (0..10).map(number).find(|number| is_valid(number)).unwrap_or_else(|| number(0)) // one of ten always is
}

/// The digit that makes `body` followed by it valid by Luhn.
fn check_digit(body: &str) -> u32 {
    (10 - sum(&format!("{body}0")) % 10) % 10
}

fn is_valid(number: &str) -> bool {
    sum(number).is_multiple_of(10)
}

fn sum(number: &str) -> u32 {
    let digit = |(index, byte): (usize, u8)| {
        let value = u32::from(byte - b'0') * if index % 2 == 1 { 2 } else { 1 };
        value / 10 + value % 10
    };
    number.bytes().rev().enumerate().map(digit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_number_is_valid_and_its_neighbour_is_not() {
        assert!(is_valid("4242424242424242"));
        assert!(!is_valid("4242424242424243"));
    }

    #[test]
    fn drawn_numbers_are_valid_and_end_as_their_outcome_asks() {
        let mut draw = Draw::new(1, "cards");
        for _ in 0..2000 {
            let (yes, no) = (approved(&mut draw), declined(&mut draw));
            assert!(yes.len() == 16 && is_valid(&yes) && !SCRIPTED.contains(&&yes[12..]), "{yes}");
            assert!(no.len() == 16 && is_valid(&no) && no.ends_with(DECLINED), "{no}");
        }
    }
}
