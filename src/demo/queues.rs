//! Queues of SQS for what failed, made for the demo and removed after it.

use aws_config::SdkConfig;
use aws_sdk_sqs::types::QueueAttributeName;
use millstream_processor::sink::fault::fault;

use super::{DemoError, Settings};

/// As long as SQS keeps anything: 14 days, in seconds.
const RETENTION: &str = "1209600";

/// The queues that the demo was told to use.
pub(crate) struct Queues {
    pub(crate) sqs: aws_sdk_sqs::Client,
    /// Where letters are kept, by its URL.
    pub(crate) letters: Option<String>,
    /// Where the documents of a mapping go that gave up, by its URL.
    pub(crate) failures: Option<String>,
}

impl Queues {
    /// None at all.
    pub(crate) fn none(config: &SdkConfig) -> Self {
        Self { sqs: aws_sdk_sqs::Client::new(config), letters: None, failures: None }
    }

    /// Makes those that are asked for.
    pub(crate) async fn create(
        settings: &Settings,
        config: &SdkConfig,
        own: &str,
    ) -> Result<Self, DemoError> {
        let mut this = Self::none(config);
        match this.make(settings, own).await {
            Ok(()) => Ok(this),
            Err(error) => {
                // What went wrong first counts.
                let _ = this.remove().await;
                Err(error)
            }
        }
    }

    async fn make(&mut self, settings: &Settings, own: &str) -> Result<(), DemoError> {
        if settings.letters_queue {
            self.letters = Some(self.queue(&format!("{own}-letters")).await?);
        }
        if settings.give_up {
            self.failures = Some(self.queue(&format!("{own}-failures")).await?);
        }
        Ok(())
    }

    async fn queue(&self, name: &str) -> Result<String, DemoError> {
        let create = self.sqs.create_queue().queue_name(name);
        let create = create.attributes(QueueAttributeName::MessageRetentionPeriod, RETENTION).send().await;
        let created = create.map_err(|error| fault(format!("CreateQueue {name}"), &error))?;
        created.queue_url.ok_or_else(|| DemoError::new(format!("queue {name} has no URL")))
    }

    /// Removes what was made, all that can be; gives the first fault.
    pub(crate) async fn remove(&self) -> Result<(), DemoError> {
        let mut removed = Ok(());
        for queue in self.letters.iter().chain(&self.failures) {
            let deleted = self.sqs.delete_queue().queue_url(queue).send().await;
            let deleted = deleted.map_err(|error| fault(format!("DeleteQueue {queue}"), &error).into());
            removed = removed.and(deleted.map(drop));
        }
        removed
    }
}
