//! What a number of repetitions allows to say, without assuming how recovery times are distributed.
//!
//! Every point is shown, with the least, the middle and the largest. There is no average and no trend: neither helps anybody
//! who must decide.

/// How sure a sentence with a bound in it is.
pub const CONFIDENCE: f64 = 0.95;

/// The share of all runs that stay below the worst of `runs` independent ones, with 95 % confidence.
pub fn share_below_worst(runs: u32) -> f64 {
    if runs == 0 { 0.0 } else { (1.0 - CONFIDENCE).powf(1.0 / f64::from(runs)) }
}

/// After `runs` runs without a loss: the probability of a loss in one run is below this, with 95 % confidence.
pub fn loss_below(runs: u32) -> f64 {
    1.0 - share_below_worst(runs)
}

/// How many clean runs it takes to say something about this share of all runs.
pub fn runs_for(share: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
    let runs = ((1.0 - CONFIDENCE).ln() / share.ln()).ceil() as u32;
    runs
}

/// The sentence beside every "nothing was lost".
pub fn sentence(runs: u32) -> String {
    let bound = loss_below(runs) * 100.0;
    let plural = if runs == 1 { "" } else { "s" };
    let bound = if bound < 10.0 { format!("{bound:.1}") } else { format!("{bound:.0}") };
    format!(
        "0 lost in {runs} valid run{plural}: with 95 % confidence fewer than {bound} of 100 such drills would lose something"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_number_of_runs_supports() {
        let percent = |share: f64| (share * 100.0).round();
        let shares: Vec<f64> = [5, 12, 29, 59].into_iter().map(|runs| percent(share_below_worst(runs))).collect();
        assert_eq!(shares, [55.0, 78.0, 90.0, 95.0]);
        assert_eq!(runs_for(0.95), 59);
        let said = |runs: &str, bound: &str| {
            format!("0 lost in {runs}: with 95 % confidence fewer than {bound} of 100 such drills would lose something")
        };
        assert_eq!(sentence(1), said("1 valid run", "95"));
        assert_eq!(sentence(12), said("12 valid runs", "22"));
        assert_eq!(sentence(59), said("59 valid runs", "5.0"));
    }
}
