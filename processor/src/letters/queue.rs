//! Letters in an SQS queue.
