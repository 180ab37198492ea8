use super::*;
use jiff::ToSpan;
use jiff::tz::TimeZone;
use proptest::prelude::*;

fn facts(time: Timestamp) -> PointFacts {
    PointFacts {
        point: PointId::at(time),
        time,
        tier: None,
        hold: None,
        verified: None,
        damaged: false,
        incomplete: false,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rules(yaml: &str) -> Rules {
    serde_saphyr::from_str(yaml).unwrap()
}

const REFERENCE: &str = "daily: 30 days\nweekly: 90 days\nmonthly: 1 year\n";

fn kept_by(decisions: &[Decision], rule: &str) -> usize {
    decisions.iter().filter(|decision| decision.keep && decision.words().contains(rule)).count()
}

fn words_of(points: &[PointFacts], yaml: &str, now: &str) -> Vec<String> {
    decide(points, &rules(yaml), at(now)).iter().map(Decision::words).collect()
}

#[test]
fn two_years_of_days_leave_thirty_days_fourteen_weeks_and_thirteen_months() {
    let rules = rules(REFERENCE);
    let mut points: Vec<PointFacts> = Vec::new();
    let first = at("2024-11-21T01:00:00Z");
    let mut decisions = Vec::new();
    let mut left = Vec::new();
    for day in 0..730 {
        let time = first + (24 * day).hours();
        points.push(facts(time));
        decisions = decide(&points, &rules, time + 1.hour());
        points.retain(|point| decisions.iter().any(|decision| decision.keep && decision.point == point.point));
        if day >= 366 {
            assert_eq!(kept_by(&decisions, "daily"), 30, "on {time}");
            assert!((13..=14).contains(&kept_by(&decisions, "weekly")), "on {time}");
            assert!((12..=13).contains(&kept_by(&decisions, "monthly")), "on {time}");
        }
        if [30, 90, 180, 365, 730].contains(&(day + 1)) {
            left.push((day + 1, points.len()));
        }
    }
    // docs/operations.md shows them.
    assert_eq!(left, [(30, 30), (90, 41), (180, 43), (365, 49), (730, 50)]);
    // 2026-11-20 is a Friday: 13 Sundays since 2026-08-23 and the week under way; 12 ends of months since
    // 2025-11-30 and the month under way. Nine of the Sundays and eleven of the month ends are older than 30 days.
    let counts = ["daily", "weekly", "monthly"].map(|rule| kept_by(&decisions, rule));
    assert_eq!(counts, [30, 14, 13]);
    assert_eq!(points.len(), 30 + 9 + 11);
    let words = decisions.last().unwrap().words();
    assert_eq!(words, "daily 2026-11-20; weekly 2026-W47; monthly 2026-11");
}

#[test]
fn the_newest_point_of_each_period_stays_for_the_term_and_the_words_say_why() {
    let points = ["2026-11-18T01:00:00Z", "2026-11-18T13:00:00Z", "2026-11-19T01:00:00Z", "2026-11-20T01:00:00Z"]
        .map(|time| facts(at(time)));
    assert_eq!(
        words_of(&points, "daily: 36 hours", "2026-11-20T02:00:00Z"),
        [
            "goes: not the newest of 2026-11-18 (daily)",
            "goes: older than 36 hours (daily)",
            "daily 2026-11-19",
            "daily 2026-11-20",
        ]
    );
}

#[test]
fn a_count_counts_periods_that_have_a_point() {
    let points = ["2026-01-05T01:00:00Z", "2026-06-01T01:00:00Z", "2026-11-19T01:00:00Z", "2026-11-20T01:00:00Z"]
        .map(|time| facts(at(time)));
    assert_eq!(
        words_of(&points, "daily: 3", "2026-11-20T02:00:00Z"),
        [
            "goes: not in the newest 3 periods that have a point (daily)",
            "daily 2026-06-01",
            "daily 2026-11-19",
            "daily 2026-11-20",
        ]
    );
}

#[test]
fn last_and_within_keep_any_point() {
    let mut points = ["2026-11-18T01:00:00Z", "2026-11-19T01:00:00Z", "2026-11-20T01:00:00Z"].map(|t| facts(at(t)));
    points[2].tier = Some("yearly".to_owned());
    assert_eq!(
        words_of(&points, "yearly: 1\nkeep_last: 1\nkeep_within: 1 day 2 hours", "2026-11-20T02:00:00Z"),
        [
            "goes: not the newest of 2026 (yearly); not one of the newest 1; older than 1 day 2 hours",
            "within 1 day 2 hours",
            "yearly 2026; one of the newest 1; within 1 day 2 hours",
        ]
    );
}

#[test]
fn holds_and_the_newest_verified_points_stay_and_so_does_the_very_newest() {
    let mut points: Vec<PointFacts> = (1..=6).map(|day| facts(at(&format!("2026-01-{day:02}T01:00:00Z")))).collect();
    points[0].hold = Some("audit of 2025".to_owned());
    points[1].verified = Some(Depth::Restored);
    points[2].verified = Some(Depth::Restored);
    points[3].verified = Some(Depth::Stored);
    assert_eq!(
        words_of(&points, "daily: 7 days", "2026-11-20T02:00:00Z"),
        [
            "held: audit of 2025",
            "goes: older than 7 days (daily)",
            "the newest verified point (restored)",
            "the newest verified point (stored)",
            "goes: older than 7 days (daily)",
            "the newest point",
        ]
    );
}

#[test]
fn a_point_with_a_tier_counts_for_that_tier_only() {
    let mut points = ["2026-11-10T01:00:00Z", "2026-11-10T02:00:00Z", "2026-11-20T01:00:00Z"].map(|t| facts(at(t)));
    points[1].tier = Some("weekly".to_owned());
    assert_eq!(
        words_of(&points, REFERENCE, "2026-11-20T02:00:00Z"),
        [
            // The weekly point is newer, but is not a point of the day and does not take its place there.
            "daily 2026-11-10",
            "weekly 2026-W46",
            "daily 2026-11-20; weekly 2026-W47; monthly 2026-11",
        ]
    );
    let later = words_of(&points, "daily: 1 year\nweekly: 1 day\n", "2026-11-20T02:00:00Z");
    assert_eq!(later[1], "goes: older than 1 day (weekly); its tier is weekly alone");
}

#[test]
fn a_tier_without_a_rule_and_a_source_without_rules_lose_nothing() {
    let mut points = ["2020-01-01T01:00:00Z", "2020-01-02T01:00:00Z", "2026-11-20T01:00:00Z"].map(|t| facts(at(t)));
    points[0].tier = Some("quarterly".to_owned());
    points[1].tier = Some("yearly".to_owned());
    let words = words_of(&points, "daily: 3", "2026-11-20T02:00:00Z");
    assert_eq!(words[0], "its tier quarterly has no rule, so nothing says when it may go");
    assert_eq!(words[1], "its tier yearly has no rule, so nothing says when it may go");
    assert!(words_of(&points[2..], "{}", "2026-11-20T02:00:00Z")[0].starts_with("there is no rule"));
}

#[test]
fn a_damaged_point_gives_way_to_a_whole_one_and_uses_up_no_count() {
    let mut points = ["2026-11-18T01:00:00Z", "2026-11-19T01:00:00Z", "2026-11-19T02:00:00Z", "2026-11-20T01:00:00Z"]
        .map(|t| facts(at(t)));
    points[2].damaged = true;
    points[3].damaged = true;
    assert_eq!(
        words_of(&points, "daily: 2", "2026-11-20T02:00:00Z"),
        [
            "daily 2026-11-18",
            "daily 2026-11-19",
            "goes: damaged, and not the only one of 2026-11-19 (daily)",
            "daily 2026-11-20",
        ]
    );
}

#[test]
fn days_are_those_of_the_time_zone_also_when_the_clock_changes() {
    // On 2026-10-25 Berlin has 25 hours: both points are of that day although UTC says the 24th for one.
    let points = ["2026-10-24T22:30:00Z", "2026-10-25T22:30:00Z", "2026-10-25T23:30:00Z"].map(|t| facts(at(t)));
    let yaml = "daily: 9 days\ntime_zone: Europe/Berlin";
    let expected = ["goes: not the newest of 2026-10-25 (daily)", "daily 2026-10-25", "daily 2026-10-26"];
    assert_eq!(words_of(&points, yaml, "2026-10-26T05:00:00Z"), expected);

    // One day after noon is the next noon: 25 hours later in autumn, 23 in spring.
    let term: Term = "1 day".parse().unwrap();
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    for (noon, next) in
        [("2026-10-24T10:00:00Z", "2026-10-25T11:00:00Z"), ("2026-03-28T11:00:00Z", "2026-03-29T10:00:00Z")]
    {
        assert_eq!(term.after(&at(noon).to_zoned(berlin.clone())), at(next));
    }
}

#[test]
fn the_hour_that_comes_twice_is_two_hours() {
    let points = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"].map(|t| facts(at(t)));
    let words = words_of(&points, "hourly: 48\ntime_zone: Europe/Berlin", "2026-10-25T03:00:00Z");
    assert_eq!(words, ["hourly 2026-10-25T02+02:00", "hourly 2026-10-25T02+01:00"]);
}

#[test]
fn locks_are_promised_for_ended_periods_and_never_for_one_under_way() {
    let points = ["2026-11-15T01:00:00Z", "2026-11-20T01:00:00Z"].map(|t| facts(at(t)));
    let decisions = decide(&points, &rules(REFERENCE), at("2026-11-20T02:00:00Z"));
    // Sunday the 15th was the last of its week, but not of its month.
    assert_eq!(decisions[0].promised_until, Some(at("2026-11-15T01:00:00Z") + (90 * 24).hours()));
    assert_eq!(decisions[1].promised_until, None);
    assert_eq!(
        rules(REFERENCE).first_promise(points[1].time, None),
        Some(at("2026-11-20T01:00:00Z") + (30 * 24).hours())
    );
    assert_eq!(rules(REFERENCE).first_promise(points[1].time, Some(Tier::Monthly)), Some(at("2027-11-20T01:00:00Z")));
}

#[test]
fn rules_that_say_nothing_or_are_misspelt_are_refused() {
    for (yaml, part) in [
        ("dayly: 3", "dayly"),
        ("daily: 0", "leave the rule out"),
        ("daily: -3 days", "it is not positive"),
        ("daily: soon", "write it as 30 days"),
        ("time_zone: Europe/Atlantis", "Europe/Atlantis"),
    ] {
        let error = serde_saphyr::from_str::<Rules>(yaml).unwrap_err().to_string();
        assert!(error.contains(part), "{yaml}: {error}");
    }
    let rules = rules("daily: 30d\nkeep_last: 3\ntime_zone: Europe/Berlin");
    let text = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<Rules>(&text).unwrap(), rules, "{text}");
}

prop_compose! {
    fn any_point()(
        minutes in 0i64..60 * 24 * 900,
        tier in prop::option::weighted(0.2, prop::sample::select(vec!["daily", "monthly", "yearly"])),
        hold in prop::option::weighted(0.05, Just("held".to_owned())),
        verified in prop::option::weighted(0.2, prop::sample::select(vec![Depth::Listed, Depth::Stored, Depth::Restored])),
        damaged in prop::bool::weighted(0.1),
    ) -> PointFacts {
        let time = at("2024-01-01T00:00:00Z") + minutes.minutes();
        PointFacts { tier: tier.map(str::to_owned), hold, verified, damaged, ..facts(time) }
    }
}

fn any_keep() -> impl Strategy<Value = Option<Keep>> {
    let texts = vec!["2", "5", "7 days", "30 days", "90 days", "6 months", "1 year", "36 hours"];
    prop::option::of(prop::sample::select(texts).prop_map(|text| text.parse().unwrap()))
}

prop_compose! {
    fn any_rules()(
        hourly in any_keep(), daily in any_keep(), weekly in any_keep(), monthly in any_keep(), yearly in any_keep(),
        keep_last in prop::option::weighted(0.3, 1u32..5),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"]),
    ) -> Rules {
        let time_zone = TimeZone::get(zone).unwrap();
        Rules { hourly, daily, weekly, monthly, yearly, keep_last, keep_within: None, time_zone }
    }
}

fn out(decisions: &[Decision]) -> Vec<PointId> {
    decisions.iter().filter(|decision| !decision.keep).map(|decision| decision.point.clone()).collect()
}

proptest! {
    #[test]
    fn the_newest_verified_the_newest_and_the_held_are_never_removed(
        points in prop::collection::vec(any_point(), 1..60), rules in any_rules(), days in 0i64..2000,
    ) {
        let out = out(&decide(&points, &rules, at("2024-01-01T00:00:00Z") + (24 * days).hours()));
        let whole = || points.iter().filter(|point| !point.damaged);
        for point in points.iter().filter(|point| point.hold.is_some()) {
            prop_assert!(!out.contains(&point.point));
        }
        for depth in [Depth::Listed, Depth::Stored, Depth::Restored] {
            let newest = whole().filter(|point| point.verified >= Some(depth)).max_by_key(|p| (p.time, &p.point));
            prop_assert!(newest.is_none_or(|newest| !out.contains(&newest.point)));
        }
        if let Some(newest) = whole().max_by_key(|point| (point.time, &point.point)) {
            prop_assert!(!out.contains(&newest.point));
        }
        prop_assert!(out.len() < points.len());
    }

    #[test]
    fn the_order_in_which_points_are_given_changes_nothing(
        (points, shuffled) in prop::collection::vec(any_point(), 0..40)
            .prop_flat_map(|points| (Just(points.clone()), Just(points).prop_shuffle())),
        rules in any_rules(),
    ) {
        let now = at("2026-06-01T00:00:00Z");
        let sorted = |points: &[PointFacts]| {
            let mut decisions = decide(points, &rules, now);
            decisions.sort_by(|a, b| a.point.cmp(&b.point));
            decisions
        };
        prop_assert_eq!(sorted(&points), sorted(&shuffled));
    }

    #[test]
    fn a_point_once_outside_every_rule_stays_out(
        mut points in prop::collection::vec(any_point(), 1..60), rules in any_rules(), wait in 0i64..800,
    ) {
        // What time and newer points alone can do; a hold or a verification is somebody's new decision.
        for point in &mut points {
            point.verified = None;
        }
        points.sort_by(|a, b| (a.time, &a.point).cmp(&(b.time, &b.point)));
        let early = &points[..points.len().div_ceil(2)];
        let now = early[early.len() - 1].time;
        let out_first = out(&decide(early, &rules, now));
        let later = points[points.len() - 1].time.max(now + wait.hours());
        let out_later = out(&decide(&points, &rules, later));
        for point in &out_first {
            prop_assert!(out_later.contains(point), "{} came back", point);
        }
        // What was removed is gone: those that stayed must not depend on it.
        let mut survivors = early.to_vec();
        survivors.retain(|point| !out_first.contains(&point.point));
        prop_assert!(out(&decide(&survivors, &rules, now)).is_empty());
    }
}
