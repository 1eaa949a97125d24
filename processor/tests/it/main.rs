//! The pipeline from the event of a Lambda to rows, events and report, over the real wire protocols.

mod copy;
mod delivery;
mod emit;
mod faults;
mod holds;
mod model;
mod poison;
mod replica;
mod values;
mod world;
