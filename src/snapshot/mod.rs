//! Namespaces: saving one completely or saying what is missing, reading a snapshot back.
