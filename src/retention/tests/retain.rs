use super::*;
use crate::error::Kind;
use crate::repository::{Depth, Evidence, Privacy, layout};
use crate::retention::{Fate, Keep};
use crate::store::Put;

#[tokio::test]
async fn points_go_as_planned_with_a_reason_and_the_chain_stays_whole() {
    let world = World::new().await;
    let mut points = Vec::new();
    for day in 0..5 {
        points.push(world.back_up(&["same", &format!("day {day}")]).await);
    }
    let plan = world.plan(2).await;
    let words: Vec<&str> = plan.sources[0].points.iter().map(|point| point.reasons.as_str()).collect();
    let goes = "goes: not one of the newest 2";
    assert_eq!(words, ["one of the newest 2", "one of the newest 2", goes, goes, goes]);

    let report = super::super::run(&world.repository().await, &plan).await.unwrap();
    assert_eq!(report.removed, [points[2].clone(), points[1].clone(), points[0].clone()]);
    assert_eq!(world.points().await, points[3..]);
    for gone in &points[..3] {
        assert_eq!(world.keys_below(&format!("points/shop/{gone}/")), []);
    }
    world.assert_whole().await;
    assert_eq!(world.plan(2).await.going(), 0);
    let removed = world.repository().await.tombstones(&shop()).await.unwrap();
    assert_eq!(removed[&points[0]].reason, goes);
}

#[tokio::test]
async fn runs_that_failed_never_count() {
    let world = World::new().await;
    let old = world.back_up(&["a"]).await;
    let newer = world.back_up(&["b"]).await;
    for _ in 0..3 {
        put(&world.begin(0).await, &["c"]).await;
        world.clock.advance(DAY);
    }
    let report = world.retain(1).await;
    assert_eq!(report.removed, [old]);
    assert_eq!(world.points().await, [newer]);
    assert_eq!(world.keys_below("points/shop/").iter().filter(|key| key.as_str().ends_with("intent")).count(), 4);
}

#[tokio::test]
async fn a_point_that_is_held_after_the_plan_was_made_stops_the_run_before_it_changes_anything() {
    let world = World::new().await;
    for day in 0..3 {
        world.back_up(&[&format!("day {day}")]).await;
    }
    let plan = world.plan(1).await;
    assert_eq!(plan.going(), 2);
    let repository = world.repository().await;
    let oldest = repository.points(None).await.unwrap().pop().unwrap();
    repository.hold(&oldest, "audit", None).await.unwrap();
    let before = world.store.keys();
    let error = super::super::run(&repository, &plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().ends_with("the plan is out of date: held: audit"), "{error}");
    assert_eq!(world.store.keys(), before);
    let report = world.retain(1).await;
    assert_eq!(report.removed.len(), 1);
    assert_eq!(world.points().await.len(), 2);
}

#[tokio::test]
async fn the_newest_verified_point_stays_although_the_catalogue_never_heard_of_it() {
    let world = World::new().await;
    let verified = world.back_up(&["a"]).await;
    world.back_up(&["b"]).await;
    world.back_up(&["c"]).await;
    let repository = world.repository().await;
    let summary = repository.points(None).await.unwrap().pop().unwrap();
    let when = world.clock.now();
    let evidence = Evidence {
        run: RunId::at(when),
        point: verified.clone(),
        manifest_sha256: summary.link.manifest_sha256,
        depth: Depth::Restored,
        ok: true,
        when,
        seconds: 1.0,
        chunks: 1,
        damage: Vec::new(),
        checks: Vec::new(),
        tool: "davit test".to_owned(),
    };
    // The verification died between its evidence and the catalogue.
    let key = layout::evidence(&shop(), &verified, &evidence.run);
    repository.put_record(&key, Privacy::Sealed, &evidence, None).await.unwrap();
    let plan = world.plan(1).await;
    assert_eq!(plan.going(), 1);
    let oldest = plan.sources[0].points.last().unwrap();
    assert_eq!((oldest.point.point(), oldest.reasons.as_str()), (&verified, "the newest verified point (restored)"));
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_points_whole_or_gone_and_the_next_run_finishes() {
    for writes in 0.. {
        let world = World::new().await;
        for day in 0..4 {
            world.back_up(&["same", &format!("day {day}")]).await;
        }
        let before = world.points().await;
        let dying = world.repository_over(DiesAfter::writes(writes, world.store.clone())).await;
        let result = match dying {
            Ok(dying) => match super::super::plan(&dying, &newest(2)).await {
                Ok(plan) => super::super::run(&dying, &plan).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        for key in world.keys_below("points/").iter().filter_map(|key| key.as_str().strip_suffix(".sig")) {
            assert!(
                world.store.head(&super::key(key), None).await.is_ok(),
                "after {writes} writes {key} is signed and gone"
            );
        }
        let left = world.points().await;
        assert!(left == before || left == before[2..], "after {writes} writes: {left:?}");
        world.assert_whole().await;

        world.retain(2).await;
        assert_eq!(world.points().await, before[2..]);
        assert_eq!(world.keys_below("points/").len(), 2 * 3, "after {writes} writes");
        world.assert_whole().await;
        if result.is_ok() {
            assert!(writes > 8, "only {writes} writes were tried");
            return;
        }
    }
}

#[tokio::test]
async fn a_locked_point_stays_until_its_lock_ends_and_then_goes_with_all_versions() {
    let world = World::with(Some(LockMode::Compliance)).await;
    let locked = world.back_up(&["a"]).await;
    world.back_up(&["b"]).await;
    let plan = world.plan(1).await;
    let oldest = plan.sources[0].points.last().unwrap();
    let Fate::Locked { until } = oldest.fate else { panic!("{oldest:?}") };
    assert!(oldest.reasons.starts_with(&format!("locked until {until}, stays")), "{}", oldest.reasons);
    let report = super::super::run(&world.repository().await, &plan).await.unwrap();
    assert_eq!((report.removed, report.locked), (vec![], vec![(locked.clone(), until)]));

    world.clock.advance(DAY * 14);
    assert_eq!(world.retain(1).await.removed, std::slice::from_ref(&locked));
    let versions = world.store.versions(&format!("points/shop/{locked}/")).await.unwrap();
    assert_eq!(versions, []);
    world.assert_whole().await;
}

#[tokio::test]
async fn a_promoted_point_and_its_chunks_are_locked_before_it_is_called_that() {
    let world = World::with(Some(LockMode::Governance)).await;
    let sunday = world.back_up(&["shared", "of that day"]).await;
    world.clock.advance(DAY * 8);
    world.back_up(&["shared"]).await;
    let weekly: Keep = "90 days".parse().unwrap();
    let rules = RulesBySource::for_all(Rules { weekly: Some(weekly), ..Rules::default() });
    let promised = sunday.made_at() + DAY * 90;

    // It dies somewhere in the middle of locking: then the catalogue does not call it promoted.
    let dying = world.repository_over(DiesAfter::writes(2, world.store.clone())).await.unwrap();
    let plan = super::super::plan(&dying, &rules).await.unwrap();
    let fates: Vec<Fate> = plan.sources[0].points.iter().map(|point| point.fate).collect();
    assert_eq!(fates, [Fate::Stays, Fate::Promoted { lock_until: promised }]);
    super::super::run(&dying, &plan).await.unwrap_err();
    let repository = world.repository().await;
    assert!(repository.points(None).await.unwrap()[1].lock_until.unwrap() < promised);

    let plan = super::super::plan(&repository, &rules).await.unwrap();
    let report = super::super::run(&repository, &plan).await.unwrap();
    assert_eq!(report.promoted, std::slice::from_ref(&sunday));
    let mut keys = vec![layout::manifest(&shop(), &sunday), layout::signature(&shop(), &sunday)];
    let point = repository.load_point(&shop(), &sunday).await.unwrap();
    keys.extend(point.ranges.iter().flat_map(|range| &range.chunks).map(layout::chunk));
    assert_eq!(keys.len(), 4);
    for key in keys {
        let lock = world.store.head(&key, None).await.unwrap().lock.unwrap();
        assert!(lock.until >= promised, "{key} is locked until {}", lock.until);
    }
    assert!(repository.points(None).await.unwrap()[1].lock_until.unwrap() >= promised);
    let again = super::super::plan(&repository, &rules).await.unwrap();
    assert!(again.sources[0].points.iter().all(|point| point.fate == Fate::Stays));
}

#[tokio::test]
async fn what_lies_hidden_under_a_removed_point_goes_with_it() {
    let world = World::with(Some(LockMode::Governance)).await;
    let old = world.back_up(&["a"]).await;
    world.back_up(&["b"]).await;
    world.clock.advance(DAY * 14);
    // Somebody put another version over the intent; both versions take room.
    world.store.tamper(&layout::intent(&shop(), &old), Put::new("other").body);
    world.retain(1).await;
    assert_eq!(world.store.versions(&format!("points/shop/{old}/")).await.unwrap(), []);
}

#[tokio::test]
async fn a_held_point_is_locked_ahead_as_long_as_it_is_held() {
    let world = World::with(Some(LockMode::Compliance)).await;
    let held = world.back_up(&["a"]).await;
    world.back_up(&["b"]).await;
    let repository = world.repository().await;
    let point = repository.points(None).await.unwrap().pop().unwrap();
    repository.hold(&point, "audit", None).await.unwrap();
    for month in 0..3 {
        assert_eq!(world.retain(1).await.promoted, std::slice::from_ref(&held), "month {month}");
        assert_eq!(world.retain(1).await.promoted, []);
        for key in [layout::hold(&held), layout::signature(&shop(), &held)] {
            let lock = world.store.head(&key, None).await.unwrap().lock.unwrap();
            assert!(lock.until >= world.clock.now() + DAY * 30, "{key}");
        }
        world.clock.advance(DAY * 28);
    }
}
