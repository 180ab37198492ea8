//! What helpers can do, as `davit chaos list` shows it.

use super::RBAC;
use super::peers::PEERS_RBAC;
use crate::chaos::fault::{Class, Facts, Parameter};
use crate::chaos::target::TargetKind;

/// What a helper does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Kill,
    Unready,
    Cpu,
    Memory,
    Disk,
    Partition,
    Latency,
}

impl What {
    /// Its word in the script.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Unready => "stop",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Partition => "partition",
            Self::Latency => "latency",
        }
    }

    /// What is known of it.
    pub(super) const fn facts(self) -> Facts {
        match self {
            Self::Kill => KILL,
            Self::Unready => UNREADY,
            Self::Cpu => CPU,
            Self::Memory => MEMORY,
            Self::Disk => DISK,
            Self::Partition => PARTITION,
            Self::Latency => LATENCY,
        }
    }
}

const fn parameter(name: &'static str, default: &'static str, what: &'static str) -> Parameter {
    Parameter { name, default: Some(default), what }
}

const CONTAINER: Parameter = parameter("container", "", "which container [the first]");

const CPU: Facts = Facts {
    name: "cpu-pressure",
    class: Class::Reversible,
    targets: &[TargetKind::Pods],
    summary: "busy processes in the victim's own control group",
    needs: "the helper's namespace: privileged pods on the victim's node",
    proof: "the helper sees the busy processes in the container's control groups, and the processor time that they had",
    heals: "the helper is taken away, and another one looks that nothing is left",
    expires: "the helper and the processes end by themselves",
    parameters: &[CONTAINER, parameter("amount", "2", "how many busy processes")],
    rbac: &RBAC,
    many: true,
};

const MEMORY: Facts = Facts {
    name: "memory-pressure",
    summary: "a process in the victim's own control group holds memory; beyond the limit the kernel kills in it",
    proof: "the helper sees the memory held in the container's control groups, or that the kernel killed in them",
    parameters: &[CONTAINER, parameter("amount", "64", "MiB")],
    ..CPU
};

const DISK: Facts = Facts {
    name: "disk-pressure",
    summary: "a file of our own fills a folder of the victim, down to a floor",
    proof: "the helper sees the file, and what is free beside it",
    expires: "the helper deletes the file",
    parameters: &[
        CONTAINER,
        parameter("amount", "64", "MiB"),
        parameter("path", "/tmp", "the folder in the container"),
        parameter("floor", "64", "MiB that are left free in it"),
    ],
    ..CPU
};

const UNREADY: Facts = Facts {
    name: "pod-unready",
    summary: "stops the container's processes (SIGSTOP), so that its readiness probe fails",
    proof: "every process of the container is stopped, and the pod is not ready",
    expires: "the helper lets them go on",
    parameters: &[CONTAINER],
    ..CPU
};

const PARTITION: Facts = Facts {
    name: "pod-partition",
    summary: "drops the victim's packets in a chain of our own in its network namespace",
    proof: "the chain's packet counter moved",
    expires: "the rules end in the kernel (--datestop), and the helper takes the chain away",
    parameters: &[
        CONTAINER,
        parameter("peer", "", "only from and to these addresses [everybody]"),
        parameter("peers", "", "only from and to the pods of these labels, and the services in front of them"),
    ],
    rbac: &PEERS_RBAC,
    ..CPU
};

const LATENCY: Facts = Facts {
    name: "pod-latency",
    summary: "leads new connections to a port of the victim through a proxy that holds every byte back",
    proof: "the rule's packet counter moved, and the proxy runs",
    expires: "the rule ends in the kernel (--datestop), and the helper takes it and the proxy away",
    parameters: &[
        CONTAINER,
        Parameter { name: "port", default: None, what: "the port that the container listens at" },
        parameter("latency", "200", "milliseconds in each direction"),
    ],
    ..CPU
};

const KILL: Facts = Facts {
    name: "container-kill",
    class: Class::SelfHealing,
    summary: "sends a signal to a container's first process from its node",
    proof: "the node says that the container of this id has ended",
    heals: "the kubelet starts the container again",
    expires: "at once",
    parameters: &[CONTAINER, parameter("signal", "KILL", "KILL, TERM, INT, HUP, …")],
    ..CPU
};
