//! What somebody with access to the bucket, or a broken disk, can do, and how it is seen.

use super::*;
use crate::error::Kind;

#[tokio::test]
async fn a_charter_replaced_by_an_attacker_is_refused_with_exit_3() {
    let world = World::new().await;
    let attacker = World::new().await;
    let forged = attacker.store.get(&layout::charter(), None).await.unwrap().body;
    world.store.tamper(&layout::charter(), forged);
    for keys in [
        Keys { writer: world.keys.writer.clone(), reader: None },
        Keys { writer: None, reader: world.keys.reader.clone() },
    ] {
        let error = Repository::open(world.store.clone(), keys, world.context()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
    }
}

#[tokio::test]
async fn an_older_charter_put_back_is_refused_by_a_machine_that_saw_the_newer_one() {
    let world = World::new().await;
    let old = world.store.get(&layout::charter(), None).await.unwrap().body;
    world.reader().await.add_reader(&age::x25519::Identity::generate().to_public().to_string()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let cx = OpenContext { state_dir: Some(directory.path().to_owned()), ..world.context() };
    Repository::open(world.store.clone(), world.keys.clone(), cx.clone()).await.unwrap();
    world.store.tamper(&layout::charter(), old);
    let error = Repository::open(world.store.clone(), world.keys.clone(), cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("counter is 1, but 2 was seen"), "{error}");
}

#[tokio::test]
async fn a_deleted_signature_is_damage_and_its_point_is_not_restored() {
    let world = World::new().await;
    let first = world.back_up("shop", &rows(1, 2)).await;
    world.back_up("shop", &rows(2, 2)).await;
    world.store.lose(&layout::signature(&name("shop"), &first.point));
    let repository = world.reader().await;
    let report = repository.check_chain(&name("shop")).await.unwrap();
    assert!(report.damage.iter().any(|damage| damage.what.contains("point number 1 is missing")), "{report:?}");
    let error = repository.load_point(&name("shop"), &first.point).await.unwrap_err();
    assert_eq!(error.kind(), Kind::CheckFailed);
    assert!(error.to_string().contains("it has no signature"), "{error}");
    // A backup goes on, and the chain keeps the gap.
    assert_eq!(world.back_up("shop", &rows(3, 2)).await.sequence, 3);
}

#[tokio::test]
async fn newest_points_that_were_deleted_are_missed() {
    let world = World::new().await;
    let before = world.store.fork();
    for seed in 0..3 {
        world.back_up("shop", &rows(seed, 1)).await;
    }
    let second = world.store.fork();
    let third = world.back_up("shop", &rows(3, 1)).await;
    for part in ["manifest", "manifest.sig", "intent"] {
        world.store.lose(&key(&format!("points/shop/{}/{part}", third.point)));
    }
    let report = world.reader().await.check_chain(&name("shop")).await.unwrap();
    assert!(report.damage.iter().any(|damage| damage.what.contains("point number 4 is missing")), "{report:?}");

    // Head, catalogue and all put back to an earlier state: only a witness outside the store can tell.
    let directory = tempfile::tempdir().unwrap();
    let remembering = OpenContext { state_dir: Some(directory.path().to_owned()), ..world.context() };
    let seen = Repository::open(world.store.clone(), world.keys.clone(), remembering.clone()).await.unwrap();
    seen.points(None).await.unwrap();
    let rolled_back = Repository::open(second.clone(), world.keys.clone(), remembering).await.unwrap();
    assert_eq!(rolled_back.points(Some(&name("shop"))).await.unwrap_err().kind(), Kind::Refused);
    assert_eq!(rolled_back.begin(world.begin("shop")).await.unwrap_err().kind(), Kind::Refused);
    for (store, expect_seq, refused) in [(&second, Some(4), true), (&second, Some(3), false), (&before, Some(1), true)]
    {
        let cx = OpenContext { expect_seq, ..world.context() };
        let repository = Repository::open(store.clone(), world.keys.clone(), cx).await.unwrap();
        assert_eq!(repository.points(Some(&name("shop"))).await.is_err(), refused, "{expect_seq:?}");
        let by_id = repository.points(None).await.unwrap().into_iter().next().map(|point| point.link.point);
        if let Some(id) = by_id {
            assert_eq!(repository.resolve(&PointSpec::Id(id)).await.is_err(), refused, "{expect_seq:?}");
        }
    }
}

/// Loses everything under these folders that is of a source.
fn lose_source(store: &MemoryStore, source: &str, folders: &[&str]) {
    let of_source = |key: &ObjectKey| {
        let rest = folders.iter().find_map(|folder| key.as_str().strip_prefix(folder));
        rest.is_some_and(|rest| rest == source || rest.starts_with(&format!("{source}/")))
    };
    store.keys().into_iter().filter(of_source).for_each(|key| store.lose(&key));
}

#[tokio::test]
async fn a_source_of_which_everything_was_taken_is_missed_where_it_was_seen_or_left_tombstones() {
    let world = one_of_everything().await;
    let directory = tempfile::tempdir().unwrap();
    let remembering = OpenContext { state_dir: Some(directory.path().to_owned()), ..world.context() };
    let open =
        async |cx: &OpenContext| Repository::open(world.store.clone(), world.keys.clone(), cx.clone()).await.unwrap();
    open(&remembering).await.points(None).await.unwrap();
    lose_source(&world.store, "bank", &["points/", "catalog/", "heads/"]);
    let repository = open(&remembering).await;
    assert_eq!(repository.sources().await.unwrap(), [name("bank"), name("shop")]);
    for error in [repository.points(None).await.unwrap_err(), repository.check_chain(&name("bank")).await.unwrap_err()]
    {
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("checking bank: nothing of it is there any more"), "{error}");
    }
    // Where it was never seen nobody can miss it, unless something was removed from it in its time.
    assert_eq!(open(&world.context()).await.sources().await.unwrap(), [name("shop")]);
    lose_source(&world.store, "shop", &["points/", "catalog/", "heads/"]);
    let repository = open(&world.context()).await;
    assert_eq!(repository.sources().await.unwrap(), [name("shop")]);
    let report = repository.check_chain(&name("shop")).await.unwrap();
    assert!(report.damage.iter().any(|damage| damage.object == "head"), "{report:?}");
}

#[tokio::test]
async fn a_manifest_moved_to_another_point_or_source_is_refused() {
    let world = World::new().await;
    let (first, second) = (world.back_up("shop", &rows(1, 1)).await, world.back_up("shop", &rows(2, 1)).await);
    let bank = world.back_up("bank", &rows(3, 1)).await;
    let shop = name("shop");
    for (source, point) in [(shop.clone(), second.point.clone()), (name("bank"), bank.point.clone())] {
        let moved = world.store.fork();
        for place in [layout::manifest, layout::signature] {
            let body = moved.get(&place(&shop, &first.point), None).await.unwrap().body;
            moved.tamper(&place(&source, &point), body);
        }
        let repository = Repository::open(moved, world.keys.clone(), world.context()).await.unwrap();
        let error = repository.load_point(&source, &point).await.unwrap_err();
        assert_eq!(error.kind(), Kind::CheckFailed);
        assert!(error.to_string().contains("belongs to another point"), "{error}");
        assert!(!repository.check_chain(&source).await.unwrap().damage.is_empty());
    }
}

#[tokio::test]
async fn the_manifest_alone_of_another_point_is_refused_before_it_is_opened() {
    let world = World::new().await;
    let (first, second) = (world.back_up("shop", &rows(1, 1)).await, world.back_up("shop", &rows(2, 1)).await);
    let shop = name("shop");
    let body = world.store.get(&layout::manifest(&shop, &first.point), None).await.unwrap().body;
    world.store.tamper(&layout::manifest(&shop, &second.point), body);
    let error = world.reader().await.load_point(&shop, &second.point).await.unwrap_err();
    assert_eq!(error.kind(), Kind::CheckFailed);
    assert!(error.to_string().contains("it is not what was signed"), "{error}");
}

#[tokio::test]
async fn a_signed_point_above_the_head_counts_and_the_next_run_moves_the_head() {
    let world = World::new().await;
    world.back_up("shop", &rows(1, 1)).await;
    let (head, shop) = (layout::head(&name("shop")), name("shop"));
    let old_head = world.store.get(&head, None).await.unwrap().body;
    let before: Vec<_> = world.store.keys();
    let second = world.back_up("shop", &rows(2, 1)).await;
    // A crash right after the signature: neither head nor catalogue know.
    world.store.tamper(&head, old_head);
    let batches =
        world.store.keys().into_iter().filter(|key| key.as_str().starts_with("catalog/") && !before.contains(key));
    batches.for_each(|key| world.store.lose(&key));
    let third = world.back_up("shop", &rows(3, 1)).await;
    assert_eq!(third.sequence, 3);
    let repository = world.reader().await;
    let HeadState::Signed(now, _) = repository.head(&shop).await.unwrap() else { panic!("no head") };
    assert_eq!((now.sequence, now.point), (3, third.point));
    let listed: Vec<u64> = repository.points(Some(&shop)).await.unwrap().iter().map(|p| p.link.sequence).collect();
    assert_eq!(listed, [3, 2, 1], "{second:?}");
    let report = repository.check_chain(&shop).await.unwrap();
    assert_eq!(report.damage, Vec::new());
}

#[tokio::test]
async fn a_damaged_chunk_is_read_from_another_object_with_the_same_plaintext() {
    let world = World::new().await;
    let first = world.back_up("shop", &rows(1, 1)).await;
    let repository = world.reader().await;
    let point = repository.points(None).await.unwrap().remove(0);
    let chunk = repository.load_point(&name("shop"), &first.point).await.unwrap().ranges[0].chunks[0].clone();
    let lost = layout::chunk(&chunk);
    world.store.rot(&lost, |bytes| bytes[300] ^= 1);
    let fetched = repository.fetch_chunk(&chunk).await;
    assert!(matches!(fetched, Err(FetchError::Damage(ChunkDamage::WrongHash))), "{fetched:?}");
    // Verification says so, signed; the next backup stores the chunk anew; the old point is whole again.
    let damage = Damage {
        object: "public.orders".into(),
        table: Some("public.orders".into()),
        chunk: lost.to_string(),
        range: 0,
        rows: Some((0, 50)),
        what: ChunkDamage::WrongHash.to_string(),
    };
    repository.record_evidence(&point, &evidence(&point, Depth::Stored, vec![damage])).await.unwrap();
    let second = world.back_up("shop", &rows(1, 1)).await;
    assert_eq!(second.end.chunks_new, 1);
    assert_eq!(repository.fetch_chunk(&chunk).await.unwrap(), rows(1, 1)[0]);
}

#[tokio::test]
async fn neither_a_delete_marker_nor_a_newer_version_hides_what_was_stored() {
    let world = World::with(&InitOptions::default(), true).await;
    let chunks = rows(1, 3);
    let committed = world.back_up("shop", &chunks).await;
    let shop = name("shop");
    let loaded = world.reader().await.load_point(&shop, &committed.point).await.unwrap();
    let objects: Vec<_> = loaded.ranges.iter().flat_map(|range| &range.chunks).map(layout::chunk).collect();
    world.store.delete(&objects[0]).await.unwrap();
    world.store.tamper(&objects[1], "something else");
    for place in [layout::manifest, layout::signature] {
        world.store.delete(&place(&shop, &committed.point)).await.unwrap();
    }
    world.store.delete(&layout::charter()).await.unwrap();
    assert_eq!(read_back(&world.reader().await, "shop", &committed.point).await.unwrap(), chunks);
    world.store.tamper(&layout::signature(&shop, &committed.point), intent::ABORTED);
    assert_eq!(read_back(&world.reader().await, "shop", &committed.point).await.unwrap(), chunks);
}

#[tokio::test]
async fn versions_that_were_switched_on_later_are_looked_at_as_well() {
    let world = World::new().await;
    let before = world.back_up("shop", &rows(1, 2)).await;
    let world = World { store: world.store.fork_with_versions(), ..world };
    assert!(!world.reader().await.features().versioning, "the charter does not know of them");
    let after = world.back_up("shop", &rows(2, 2)).await;
    for (point, seed) in [(&before.point, 1), (&after.point, 2)] {
        let signature = layout::signature(&name("shop"), point);
        world.store.delete(&signature).await.unwrap();
        assert_eq!(read_back(&world.reader().await, "shop", point).await.unwrap(), rows(seed, 2));
        world.store.tamper(&signature, "something else");
        assert_eq!(read_back(&world.reader().await, "shop", point).await.unwrap(), rows(seed, 2));
    }
}

#[tokio::test]
async fn a_hold_whose_object_was_taken_away_still_holds_and_is_damage() {
    let world = World::new().await;
    world.back_up("shop", &rows(1, 1)).await;
    let repository = world.writer().await;
    let point = repository.points(None).await.unwrap().remove(0);
    repository.hold(&point, "the audit of 2026", None).await.unwrap();
    world.store.lose(&layout::hold(point.point()));
    let held = repository.points(None).await.unwrap().remove(0);
    assert_eq!(held.hold.as_ref().unwrap().reason, "the audit of 2026");
    let report = repository.check_chain(&name("shop")).await.unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    repository.release(&held).await.unwrap();
    assert_eq!(repository.points(None).await.unwrap()[0].hold, None);
}

fn evidence(point: &PointSummary, depth: Depth, damage: Vec<Damage>) -> Evidence {
    let when = point.snapshot_time;
    Evidence {
        run: RunId::at(when),
        point: point.point().clone(),
        manifest_sha256: point.link.manifest_sha256,
        depth,
        ok: damage.is_empty(),
        when,
        seconds: 1.0,
        chunks: point.end.chunks,
        damage,
        checks: Vec::new(),
        tool: "davit test".into(),
    }
}

/// A small repository with one of everything.
async fn one_of_everything() -> World {
    let world = World::new().await;
    world.back_up("shop", &rows(1, 2)).await;
    world.back_up("shop", &rows(2, 2)).await;
    world.back_up("shop", &rows(3, 1)).await;
    world.back_up("bank", &rows(4, 1)).await;
    let repository = Repository::open(world.store.clone(), world.keys.clone(), world.context()).await.unwrap();
    let points = repository.points(Some(&name("shop"))).await.unwrap();
    repository.record_evidence(&points[0], &evidence(&points[0], Depth::Stored, Vec::new())).await.unwrap();
    repository.hold(&points[1], "a reason", None).await.unwrap();
    let run = RunId::at(points[2].snapshot_time);
    repository.entomb(&name("shop"), &run, &[(points[2].clone(), "too old".into())]).await.unwrap();
    for part in ["manifest", "manifest.sig", "intent"] {
        world.store.lose(&key(&format!("points/shop/{}/{part}", points[2].point())));
    }
    // A run that was given up: its journal tells the next one what it stored.
    let writer = world.writer().await.begin(world.begin("shop")).await.unwrap();
    put_table(&writer, &rows(5, 2)).await.unwrap();
    writer.abandon().await.unwrap();
    world
}

/// What is seen to be wrong with a store; an error stands for itself.
async fn seen(world: &World, store: Arc<MemoryStore>) -> std::result::Result<Vec<Damage>, Error> {
    let repository = Repository::open(store, world.keys.clone(), world.context()).await?;
    Ok(repository.audit(Depth::Stored).await?.damage().cloned().collect())
}

/// Whether what was done to an object is seen; to a chunk of rows, as its table and rows.
async fn is_seen(world: &World, store: Arc<MemoryStore>, key: &ObjectKey) -> bool {
    match seen(world, store).await {
        Ok(damage) if key.as_str().starts_with("chunks/") => {
            let told = |damage: &Damage| damage.table.is_some() && damage.rows.is_some();
            damage.iter().any(|damage| damage.chunk == key.as_str() && told(damage))
        }
        Ok(damage) => !damage.is_empty(),
        Err(_) => true,
    }
}

#[tokio::test]
async fn every_object_that_is_flipped_truncated_dropped_or_swapped_is_seen() {
    let world = one_of_everything().await;
    assert_eq!(seen(&world, world.store.fork()).await.unwrap(), Vec::new(), "an untouched repository is whole");
    // Chunks of the removed point are garbage that a sweep takes away; so is all that the unfinished run left, but its
    // journal is believed by the next run.
    let repository = Repository::open(world.store.clone(), world.keys.clone(), world.context()).await.unwrap();
    let mut named = std::collections::BTreeSet::new();
    for point in repository.points(None).await.unwrap() {
        let loaded = repository.load_point(&point.source, point.point()).await.unwrap();
        named.extend(loaded.ranges.iter().flat_map(|range| &range.chunks).map(layout::chunk));
    }
    let unfinished = world.store.keys().into_iter().rfind(|key| key.as_str().ends_with("/intent")).unwrap();
    let counts = |key: &ObjectKey| named.contains(key) || !(key.as_str().starts_with("chunks/") || *key == unfinished);
    let keys: Vec<ObjectKey> = world.store.keys().into_iter().filter(counts).collect();
    for folder in ["davit.json", "chunks/", "points/", "heads/", "catalog/", "tombstones/", "holds/", "journals/"] {
        assert!(keys.iter().any(|key| key.as_str().starts_with(folder)), "{folder} is not tried");
    }
    let mut unseen = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let body = world.store.get(key, None).await.unwrap().body;
        let flips = [0, body.len() / 3, body.len() / 2, body.len() - 1].map(|at| {
            let mut flipped = body.to_vec();
            flipped[at] ^= 1;
            ("flipped", flipped)
        });
        let cuts = [0, body.len() / 2, body.len() - 1].map(|to| ("truncated", body[..to].to_vec()));
        let other = world.store.get(&keys[(number + 1) % keys.len()], None).await.unwrap().body;
        let swapped = [("swapped", other.to_vec())];
        for (what, bytes) in flips.into_iter().chain(cuts).chain(swapped) {
            let store = world.store.fork();
            store.tamper(key, bytes);
            if !is_seen(&world, store, key).await {
                unseen.push(format!("{what} {key}"));
            }
        }
        // Nobody knows how many batches a dead run had; without one of them, chunks are stored once more.
        if key.as_str().starts_with("journals/") {
            continue;
        }
        let store = world.store.fork();
        store.lose(key);
        if !is_seen(&world, store, key).await {
            unseen.push(format!("dropped {key}"));
        }
    }
    assert_eq!(unseen, Vec::<String>::new());
}

#[tokio::test]
async fn damage_is_told_as_table_and_rows() {
    let world = World::new().await;
    let committed = world.back_up("shop", &rows(1, 4)).await;
    let repository = world.writer().await;
    let loaded = repository.load_point(&name("shop"), &committed.point).await.unwrap();
    let third = loaded.ranges.iter().find(|range| range.range == 2).unwrap();
    let lost = layout::chunk(&third.chunks[0]);
    world.store.lose(&lost);
    let listing = repository.listing_of_chunks().await.unwrap();
    let report = repository.check_point(&name("shop"), &committed.point, Depth::Listed, &listing).await.unwrap();
    let expected = Damage {
        object: "public.orders".into(),
        table: Some("public.orders".into()),
        chunk: lost.to_string(),
        range: 2,
        rows: Some((100, 150)),
        what: "it is missing".into(),
    };
    assert_eq!(report.damage, [expected]);
}
