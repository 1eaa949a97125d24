//! What each kind of projection costs to write.
