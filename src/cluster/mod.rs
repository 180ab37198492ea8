//! One Kubernetes API server: connect, discover what it serves, list, change objects, run commands in pods.
