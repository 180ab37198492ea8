//! Amounts as Kubernetes writes them: `1Gi`, `0.5`, `500m`, `1e3`. Two spellings of one amount are equal.

/// An amount as digits without zeros at either end and a power of ten; binary suffixes are multiplied out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    digits: i128,
    exponent: i32,
}

impl Quantity {
    /// Reads an amount; `None` if it is anything else, or too large to be one.
    pub fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let unsigned = whole.trim_start_matches(['+', '-']);
        if whole.len() - unsigned.len() > 1 || (unsigned.is_empty() && fraction.is_empty()) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits: i128 = all.parse().ok()?;
        let exponent = -i32::try_from(fraction.len()).ok()?;
        let (factor, power) = scale(suffix)?;
        Some(Self { digits: digits.checked_mul(factor)?, exponent: exponent.checked_add(power)? }.normal())
    }

    /// The amount rounded up to a whole number.
    pub fn whole(self) -> Option<i128> {
        if self.exponent >= 0 {
            return self.digits.checked_mul(10i128.checked_pow(self.exponent.unsigned_abs())?);
        }
        let by = 10i128.checked_pow(self.exponent.unsigned_abs())?;
        let down = self.digits.div_euclid(by);
        Some(if self.digits.rem_euclid(by) > 0 { down + 1 } else { down })
    }

    /// The amount in thousandths, rounded up: how CPU is counted.
    pub fn thousandths(self) -> Option<i128> {
        Self { digits: self.digits, exponent: self.exponent + 3 }.whole()
    }

    fn normal(mut self) -> Self {
        if self.digits == 0 {
            return Self { digits: 0, exponent: 0 };
        }
        while self.digits % 10 == 0 {
            self.digits /= 10;
            self.exponent += 1;
        }
        self
    }
}

/// What a suffix multiplies by: a factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    let binary = |power: u32| Some((1i128 << (10 * power), 0));
    match suffix {
        "" => Some((1, 0)),
        "n" => Some((1, -9)),
        "u" => Some((1, -6)),
        "m" => Some((1, -3)),
        "k" => Some((1, 3)),
        "M" => Some((1, 6)),
        "G" => Some((1, 9)),
        "T" => Some((1, 12)),
        "P" => Some((1, 15)),
        "E" => Some((1, 18)),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (power.abs() <= 30).then_some((1, power))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(one: &str, other: &str) -> bool {
        Quantity::parse(one).is_some() && Quantity::parse(one) == Quantity::parse(other)
    }

    #[test]
    fn spellings_of_one_amount_are_equal() {
        for (one, other) in [
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("0.5", "500m"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("0", "0m"),
            ("1.50", "1500m"),
            ("-1", "-1000m"),
            (".5", "500m"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [("1G", "1Gi"), ("1", "1m"), ("100", "10")] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in ["", "x", "Gi", "1Xi", "--1", "1.2.3", "1 ", "e5", "-", ".", "99999999999999999999999999999999Ei"] {
            assert_eq!(Quantity::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn amounts_round_up() {
        let whole = |text| Quantity::parse(text).and_then(Quantity::whole);
        assert_eq!(
            (whole("1Ki"), whole("1500m"), whole("-1500m"), whole("2k")),
            (Some(1024), Some(2), Some(-1), Some(2000))
        );
        assert_eq!(Quantity::parse("250m").and_then(Quantity::thousandths), Some(250));
    }

    proptest! {
        #[test]
        fn thousands_and_thousandths_agree(number in 0i64..1_000_000) {
            let (plain, milli, kilo) = (number.to_string(), format!("{number}000m"), format!("{number}k"));
            let (power, kibi, bytes) = (format!("{number}e3"), format!("{number}Ki"), (number * 1024).to_string());
            prop_assert!(same(&plain, &milli));
            prop_assert!(same(&kilo, &power));
            prop_assert!(same(&kibi, &bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9+.eEkMGTPimnu-]{0,12}") {
            if let Some(quantity) = Quantity::parse(&text) {
                let _whole = quantity.whole();
                prop_assert_eq!(Quantity::parse(&text), Some(quantity));
            }
        }
    }
}
