//! Bad traces for the enforcer.
