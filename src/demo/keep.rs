//! `--keep`: stays up after the comparison and projects what the user writes.

use std::time::Duration;

use super::connection::REGION;
use super::drive::{Followed, Run};
use super::world::World;
use super::{DemoError, Settings, told_to_stop};
use crate::output::{complain, print};

/// How often the streams are asked for something new.
const PAUSE: Duration = Duration::from_millis(300);

/// Follows the streams until told to stop, which is a good end.
pub(crate) async fn stay(run: &mut Run<'_>, settings: &Settings) -> Result<(), DemoError> {
    // With --json standard output holds one object and nothing else.
    let tell = |text: &str| {
        if settings.json {
            complain(text);
            return Ok(());
        }
        print(&format!("{text}\n"))
    };
    tell(&invitation(run.world()))?;
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

/// Where things are, and what to try.
fn invitation(world: &World) -> String {
    let prefix = &world.prefix;
    let environment = match &world.connection.url {
        Some(url) if world.connection.inside => format!(
            "  export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={REGION}\n  \
             export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo PREFIX={prefix}\n"
        ),
        Some(url) => format!("  export AWS_ENDPOINT_URL={url} PREFIX={prefix}\n"),
        None => format!("  export PREFIX={prefix}\n"),
    };
    let endpoint = world.connection.url.as_deref().unwrap_or("AWS");
    let (ledger, letters) = (world.config.state.ledger_table(), world.config.state.letters_table());
    format!(
        r#"
Still up at {endpoint}
Change a source table and watch the others follow. Ctrl-C ends it.

  sources    {prefix}CompanyProfile, {prefix}Orders
  copies     {prefix}CompanyStatistics, {prefix}CompanyBilling
  replicas   {prefix}AccountingOrders, {prefix}InventoryOrders, {prefix}ShippingOrders
  our own    {ledger}, {letters}

In another terminal:
{environment}
  aws dynamodb put-item --table-name {prefix}CompanyProfile \
      --item '{{"companyId":{{"S":"company-001"}},"name":{{"S":"Hello Mills"}}}}'
  aws dynamodb get-item --table-name {prefix}CompanyStatistics --key '{{"statisticsId":{{"S":"company-001/2024"}}}}'

  aws dynamodb put-item --table-name {prefix}Orders --item '{{"orderId":{{"S":"mine"}},"companyId":{{"S":"company-001"}},
      "customer":{{"M":{{"name":{{"S":"Me"}}}}}},"status":{{"S":"PAID"}},"warehouse":{{"S":"Porto"}},"total":{{"N":"42"}},
      "lines":{{"L":[{{"M":{{"sku":{{"S":"lamp"}},"qty":{{"N":"1"}}}}}}]}}}}'
  aws dynamodb get-item --table-name {prefix}ShippingOrders --key '{{"orderId":{{"S":"mine"}}}}'

  millstream replay --config demo/millstream.toml list

What Millstream does with it:"#
    )
}
