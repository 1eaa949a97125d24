//! `--keep`: stays up after the comparison and projects what the user writes.

use std::time::Duration;

use super::connection::REGION;
use super::drive::{Followed, Run};
use super::world::{Topic, World};
use super::{AWS, DemoError, Settings, told_to_stop};
use crate::output::{complain, print};

/// How often the streams are asked for something new.
const PAUSE: Duration = Duration::from_millis(300);

/// Follows the streams until told to stop, which is a good end.
pub(crate) async fn stay(run: &mut Run<'_>, settings: &Settings) -> Result<(), DemoError> {
    let tell = |text: &str| tell(settings, text);
    tell(&invitation(run.world(), settings))?;
    let follow = async {
        loop {
            for followed in run.follow().await? {
                tell(&line(&followed))?;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        failed = follow => failed,
        () = told_to_stop() => Ok(tell("stopped")?),
    }
}

/// Tells people something. With --json standard output holds one object and nothing else.
pub(crate) fn tell(settings: &Settings, text: &str) -> Result<(), DemoError> {
    if settings.json {
        complain(text);
        return Ok(());
    }
    Ok(print(&format!("{text}\n"))?)
}

/// One batch in one line.
fn line(followed: &Followed) -> String {
    let Followed { source, done } = followed;
    let counts = done.counts;
    let mut line = format!(
        "  {:<16} {} delivered: {} written, {} stale, {} coalesced",
        source.as_str(),
        done.deliveries,
        counts.written,
        counts.stale,
        counts.coalesced
    );
    for letter in &done.letters {
        line.push_str(&format!("; letter {letter}"));
    }
    line
}

/// What another terminal has to know, so that nothing of a real account is used by mistake.
fn environment(world: &World, settings: &Settings) -> String {
    let prefix = &world.prefix;
    let made_up = "export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo";
    let remote = settings.sns_endpoint.as_deref();
    let mut lines = match (&world.connection.url, remote) {
        (Some(url), None) if world.connection.inside => vec![
            format!("export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={REGION}"),
            format!("{made_up} PREFIX={prefix}"),
        ],
        (Some(url), Some(AWS)) if world.connection.inside => vec![format!(
            "export AWS_ENDPOINT_URL_DYNAMODB={url} AWS_ENDPOINT_URL_DYNAMODB_STREAMS={url} PREFIX={prefix}"
        )],
        (Some(url), Some(other)) if world.connection.inside => vec![
            format!("export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={REGION}"),
            format!("export AWS_ENDPOINT_URL_SNS={other} AWS_ENDPOINT_URL_SQS={other}"),
            format!("{made_up} PREFIX={prefix}"),
        ],
        (Some(url), _) => vec![format!("export AWS_ENDPOINT_URL={url} PREFIX={prefix}")],
        (None, _) => vec![format!("export PREFIX={prefix}")],
    };
    if let Topic::Remote(remote) = &world.topic {
        let (topic, queue) = (&remote.topic, &remote.queue);
        lines.push(format!("export COMPANY_CHANGED_TOPIC={topic}"));
        lines.push(format!("export COMPANY_EVENTS_QUEUE={queue}"));
    }
    lines.extend(world.queues.letters.as_ref().map(|url| format!("export LETTERS_QUEUE={url}")));
    lines.extend(world.queues.failures.as_ref().map(|url| format!("export FAILURES_QUEUE={url}")));
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

/// Where things are, and what to try.
fn invitation(world: &World, settings: &Settings) -> String {
    let (prefix, environment) = (&world.prefix, environment(world, settings));
    let endpoint = world.connection.url.as_deref().unwrap_or("AWS");
    let own = world.own_tables().join(", ");
    format!(
        r#"
Still up at {endpoint}
Change a source table and watch the others follow. Ctrl-C ends it.

  sources    {prefix}CompanyProfile, {prefix}Orders
  copies     {prefix}CompanyStatistics, {prefix}CompanyBilling
  replicas   {prefix}AccountingOrders, {prefix}InventoryOrders, {prefix}ShippingOrders
  totals     {prefix}OrdersByCustomer, {prefix}OrdersByMonth
  lookups    {prefix}CompanyByVat, {prefix}OrdersByTag
  our own    {own}

In another terminal:
{environment}
  aws dynamodb put-item --table-name {prefix}CompanyProfile \
      --item '{{"companyId":{{"S":"company-001"}},"name":{{"S":"Hello Mills"}}}}'
  aws dynamodb get-item --table-name {prefix}CompanyStatistics --key '{{"statisticsId":{{"S":"company-001/2024"}}}}'

  aws dynamodb put-item --table-name {prefix}Orders --item '{{"orderId":{{"S":"mine"}},"companyId":{{"S":"company-001"}},
      "customer":{{"M":{{"name":{{"S":"Me"}}}}}},"status":{{"S":"PAID"}},"warehouse":{{"S":"Porto"}},"total":{{"N":"42"}},
      "month":{{"S":"2026-05"}},"tags":{{"SS":["gift","express"]}},
      "lines":{{"L":[{{"M":{{"sku":{{"S":"lamp"}},"qty":{{"N":"1"}}}}}}]}}}}'
  aws dynamodb get-item --table-name {prefix}ShippingOrders --key '{{"orderId":{{"S":"mine"}}}}'
  aws dynamodb get-item --table-name {prefix}OrdersByCustomer --key '{{"customer":{{"S":"Me"}}}}'
  aws dynamodb get-item --table-name {prefix}OrdersByTag --key '{{"tag":{{"S":"gift"}},"orderId":{{"S":"mine"}}}}'

  millstream replay --config demo/millstream.toml list

What Millstream does with it:"#
    )
}
