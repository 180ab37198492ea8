//! A service of which every second request fails.

use super::tests::Made;
use crate::measure::Answer;
use crate::report::journal::{Aims, Event, PackedSamples};
use crate::report::render::{self, Form};
use std::time::Duration;

#[test]
fn a_service_that_fails_every_second_request_is_down_and_costs_half_of_that_time() {
    // The fault of these journals, on their axis.
    let fault = Duration::from_secs(1030);
    let aims = Aims { rto: Some(Duration::from_secs(20)), ..Made::default().aims };
    let mut lines = Made { outage: Duration::ZERO, lost: 0, aims, ..Made::default() }.journal();
    // Only who connects anew meets the other server every second time.
    lines.retain(|line| match &line.event {
        Event::Samples { stream, .. } => stream == "sql-fresh",
        Event::Stream(stream) => stream.name == "sql-fresh",
        _ => true,
    });
    for line in &mut lines {
        let Event::Samples { samples, .. } = &mut line.event else { continue };
        let mut all: Vec<_> = samples.samples().collect();
        let down = fault..fault + Duration::from_secs(30);
        for sample in all.iter_mut().filter(|sample| down.contains(&sample.due)).step_by(2) {
            sample.answer = Answer::Refused("connection refused".to_owned());
        }
        *samples = PackedSamples::of(&all);
    }
    super::tests::stored_is_the_same(&lines);
    let report = super::of(&lines).unwrap();
    let rto = report.objectives.iter().find(|row| row.key == "rto").unwrap();
    assert_eq!(rto.verdict.as_deref(), Some("missed"), "{rto:?}");
    let time = rto.actual.unwrap();
    assert!(time.low > 28.0 && time.low <= 30.0 && (30.0..31.0).contains(&time.high), "{time:?}");
    // Its bounds are wider than the pace of the probes explains, and that pace was kept.
    assert!(report.streams.iter().all(|stream| stream.error.is_none()), "{:?}", report.streams);
    let budget = report.error_budget.clone().unwrap();
    assert!(budget.down_seconds.low > 27.0 && budget.down_seconds.high < 31.0, "{:?}", budget.down_seconds);
    let affected = budget.affected.clone().unwrap();
    assert!((affected.share - 0.5).abs() < 0.02, "{affected:?}");
    // Every form says the same share.
    let page = render::drill(&report, Form::OpenMetrics).unwrap();
    let line =
        page.lines().find(|line| line.starts_with("davit_drill_error_budget_ratio{") && line.contains("\"high\""));
    let shown: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((shown - affected.burned.high).abs() < 1e-9 && shown < budget.burned.high, "{line:?} {budget:?}");
}
