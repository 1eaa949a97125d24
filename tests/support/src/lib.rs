//! The services that Millstream's tests run against, and the faults they can be given.
