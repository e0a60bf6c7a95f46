//! `weirgate-proxy health`: for probes of containers and supervisors.

use clap::Args;
use proxy::admin::view::Readiness;
use proxy::admin::{Ask, ClientError};

use super::settings::{AdminClientArg, DatabaseArg};
use super::{Failure, say};

/// Exit codes: 0 ready (with --live: it answers); 1 it answers and is not ready; 2 the
/// request is at fault; 3 nobody answers.
#[derive(Args)]
pub(crate) struct Health {
    /// Ask only whether the process answers.
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    admin: AdminClientArg,
    #[command(flatten)]
    database: DatabaseArg,
}

impl Health {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let database = self.database.resolve(None);
        let (client, _) = self.admin.client(&database)?;
        let path = if self.live { "/livez" } else { "/readyz" };
        let (status, bytes) = client.answer(Ask::get(path)).await.map_err(absent)?;
        if status.is_success() {
            return say(if self.live { "alive" } else { "ready" });
        }
        let why = match serde_json::from_slice::<Readiness>(&bytes) {
            Ok(Readiness { draining: true, .. }) => "not ready: it drains",
            Ok(_) => "not ready: the database does not answer",
            Err(_) => "it does not answer as it should",
        };
        Err(Failure::environment(why))
    }
}

fn absent(error: ClientError) -> Failure {
    Failure::Absent(Box::new(error))
}
