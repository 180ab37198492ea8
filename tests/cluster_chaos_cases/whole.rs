//! What harms nodes, on the cluster where nobody else is meanwhile: `tests/cluster/run.sh` knows these tests by this module.

use crate::{drills, janitor, nodes};

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn a_node_is_drained_and_another_one_lost_and_the_service_goes_on() {
    drills::a_node_is_drained_and_another_one_lost_and_the_service_goes_on();
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn killed_after_two_lines_of_every_fault_of_nodes_the_janitor_leaves_all_as_it_was() {
    janitor::killed_after_two_lines_of_every_fault_of_nodes_the_janitor_leaves_all_as_it_was();
}

#[test]
#[ignore = "needs root on Linux and the test cluster: make test"]
fn nodes_are_cordoned_tainted_and_drained_as_budgets_allow_and_are_as_before() {
    nodes::nodes_are_cordoned_tainted_and_drained_as_budgets_allow_and_are_as_before();
}
