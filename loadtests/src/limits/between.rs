//! What two services answer at most, held against each other.

use super::Saturation;
use crate::report::wording::with_interval;
use crate::stats::Ratio;

/// The first service by the second, at one kind of request.
#[derive(Debug, Clone, PartialEq)]
pub struct Between {
    /// As a person calls the requests.
    pub kind: String,
    /// Who by whom.
    pub services: String,
    /// Of the rates.
    pub rate: Ratio,
    /// Of CPU a reply.
    pub cpu_us: Ratio,
    /// Measurements of each.
    pub n: [usize; 2],
}

/// Of every kind that two were asked for, one after the other in each turn.
pub fn between(saturations: &[Saturation]) -> Vec<Between> {
    let of_two = |both: &[Saturation]| {
        let [first, second] = both else { return None };
        let (kind, one) = first.label.rsplit_once(", ")?;
        let (same, other) = second.label.rsplit_once(", ")?;
        (kind == same).then(|| Between {
            kind: kind.to_owned(),
            services: format!("{one}/{other}"),
            rate: first.rate.paired_ratio_to(&second.rate),
            cpu_us: first.cpu_us.paired_ratio_to(&second.cpu_us),
            n: [first.rate.values.len(), second.rate.values.len()],
        })
    };
    saturations.windows(2).filter_map(of_two).collect()
}

impl Between {
    /// Over [`Between::cells`].
    pub const HEAD: [&str; 5] = ["", "by", "answered", "CPU a reply", "n"];

    /// Requests, who by whom, both ratios with their intervals, measurements of each.
    pub fn cells(&self) -> [String; 5] {
        let [first, second] = self.n;
        let n = if first == second { first.to_string() } else { format!("{first}; {second}") };
        [self.kind.clone(), self.services.clone(), with_interval(&self.rate), with_interval(&self.cpu_us), n]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spread::Spread;

    fn saturation(label: &str, rate: &[f64]) -> Saturation {
        Saturation {
            name: label.into(),
            label: label.into(),
            unit: "sales/s".into(),
            rate: Spread::of(rate).unwrap(),
            cpu_us: Spread::of(&[500.0, 500.0, 500.0]).unwrap(),
            limit: String::new(),
            share: None,
            full: String::new(),
        }
    }

    #[test]
    fn two_services_are_held_against_each_other_at_one_kind_of_request() {
        let all = [
            saturation("Sales, rust", &[600.0, 606.0, 594.0]),
            saturation("Sales, go", &[500.0, 505.0, 495.0]),
            saturation("Reads, rust", &[900.0]),
            saturation("Reads, go", &[1000.0]),
            saturation("Tokens, go", &[100.0]),
        ];
        let found = between(&all);
        let told: Vec<_> = found.iter().map(Between::cells).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0][..2], ["Sales", "rust/go"]);
        assert_eq!((told[0][2].split_once(' ').unwrap().0, told[0][4].as_str()), ("1.20", "3"));
        let interval = found[0].rate.interval.unwrap();
        assert!(interval.low > 1.15 && interval.high < 1.25, "{interval:?}");
        assert_eq!(told[1][2], "0.90 (too few repetitions for an interval)");
    }
}
