//! One set of behaviours over every store: memory, directory, decorators, an S3 server in this process, and a

#![allow(clippy::panic, clippy::assigning_clones, reason = "a test stops at the first surprise")]
//! real one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![expect(unreachable_pub, reason = "the behaviours are called from this file only")]

mod store_support;
mod support;

use davit::clock::SystemClock;
use davit::retry::Policy;
use davit::secret::Secret;
use davit::store::{
    Chances, FaultPlan, FaultyStore, LimitedStore, LocalStore, MemoryStore, Retrying, S3Options, S3Store, SharedStore,
};
use std::future::{Ready, ready};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use store_support::World;
use store_support::s3_server::{BUCKET, Server};
use support::s3::S3;
use tokio_util::sync::CancellationToken;

/// One test per behaviour for the store that `$world` makes.
macro_rules! contract {
    ($store:ident, $world:expr $(, #[$mark:meta])?) => {
        mod $store {
            use super::*;
            contract!(@each $world $(, #[$mark])?;
                basics::what_was_put_is_what_is_read,
                basics::an_object_of_16_mib_and_an_empty_one_come_back_whole,
                basics::every_letter_a_key_may_have_works,
                basics::a_taken_name_is_refused_and_keeps_its_bytes,
                basics::of_many_writers_of_one_name_exactly_one_wins,
                basics::an_object_is_replaced_only_if_it_is_the_one_that_was_read,
                basics::of_many_replacers_of_one_object_exactly_one_wins_each_round,
                basics::what_is_not_there_is_not_found_and_deleting_it_is_no_error,
                basics::a_deleted_name_can_be_put_again,
                basics::bytes_that_do_not_have_their_hash_are_refused,
                basics::the_probe_finds_what_it_can_do_and_leaves_nothing,
                listing::a_listing_is_in_name_order_and_by_text_prefix,
                listing::a_listing_goes_on_behind_any_name,
                listing::a_listing_of_several_pages_has_every_object_once_with_its_size,
                listing::folders_are_the_first_level_below_a_prefix,
                listing::a_listing_cannot_leave_the_store,
                versions::old_versions_stay_readable_until_each_is_deleted,
                versions::a_name_behind_a_delete_marker_is_free,
                versions::a_version_that_is_gone_is_not_found,
                versions::a_locked_version_cannot_be_deleted_and_says_until_when,
                versions::a_lock_is_extended_and_never_shortened,
                versions::what_is_replaced_or_hidden_by_others_keeps_its_locked_version,
            );
        }
    };
    (@each $world:expr; $($group:ident::$behaviour:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $behaviour() {
            store_support::$group::$behaviour($world.await).await;
        })*
    };
    (@each $world:expr, #[$mark:meta]; $($group:ident::$behaviour:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[$mark]
        async fn $behaviour() {
            store_support::$group::$behaviour($world.await).await;
        })*
    };
}

fn memory() -> Ready<World> {
    ready(World::new(MemoryStore::new(SystemClock::shared()), false, ()))
}

fn memory_with_versions() -> Ready<World> {
    ready(World::new(MemoryStore::versioned(SystemClock::shared()), true, ()))
}

async fn directory() -> World {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path(), false, SystemClock::shared()).await.unwrap();
    World::new(Arc::new(store), false, directory)
}

/// A store on which a fifth of the calls go wrong in passing, behind the one that tries again.
fn faulty(versioned: bool, seed: u64) -> Ready<World> {
    let clock = SystemClock::shared();
    let memory: SharedStore =
        if versioned { MemoryStore::versioned(clock.clone()) } else { MemoryStore::new(clock.clone()) };
    let plan = FaultPlan::random(seed, Chances::passing(0.03));
    let faulty = Arc::new(FaultyStore::new(memory, plan, clock.clone()));
    let policy = Policy { attempts: 50, first_pause: Duration::from_micros(50), ..Policy::STORE };
    let policy = Policy { longest_pause: Duration::from_millis(1), ..policy };
    let store = Retrying::new(faulty, policy, clock, CancellationToken::new());
    ready(World::new(Arc::new(store), versioned, ()))
}

async fn s3s(versioned: bool) -> World {
    let server = Server::start(versioned, 0).await;
    let store = S3Store::open(BUCKET, "some/prefix", &server.options(), SystemClock::shared()).await.unwrap();
    assert_eq!(server.memory.keys(), []);
    World::new(Arc::new(store), versioned, server)
}

fn limited() -> Ready<World> {
    let clock = SystemClock::shared();
    let memory = MemoryStore::versioned(clock.clone());
    let store = LimitedStore::new(memory, NonZeroU64::new(500_000_000).unwrap(), clock);
    ready(World::new(Arc::new(store), true, ()))
}

async fn versitygw(versioned: bool) -> World {
    let server = tokio::task::spawn_blocking(S3::start).await.unwrap();
    if versioned {
        server.locking_bucket("davit-test").await;
    } else {
        server.plain_bucket("davit-test").await;
    }
    let keys = (support::s3::ACCESS_KEY.to_owned(), Secret::new(support::s3::SECRET_KEY));
    let options = S3Options {
        endpoint: Some(server.endpoint()),
        region: Some(support::s3::REGION.to_owned()),
        profile: None,
        keys: Some(keys),
    };
    let store = S3Store::open("davit-test", "some/prefix", &options, SystemClock::shared()).await.unwrap();
    World::new(Arc::new(store), versioned, server).with_showing_markers()
}

contract!(in_memory, memory());
contract!(in_memory_with_versions, memory_with_versions());
contract!(in_a_directory, directory());
contract!(behind_faults, faulty(false, 11));
contract!(behind_faults_with_versions, faulty(true, 12));
contract!(behind_a_limit, limited());
contract!(in_an_s3_bucket, s3s(false));
contract!(in_an_s3_bucket_with_versions, s3s(true));
contract!(in_a_real_bucket, versitygw(false), #[ignore = "needs an S3 server: make test"]);
contract!(in_a_real_bucket_with_versions, versitygw(true), #[ignore = "needs an S3 server: make test"]);
