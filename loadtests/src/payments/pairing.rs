//! The two services of a comparison's scenario: fresh ones on fresh databases.

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::{LocalBoxFuture, try_join_all};

use super::bench::{Bench, locked};
use super::metrics::look;
use super::pair::{Pair, Traced};
use super::service::{EXPORTER, Service, Special};
use super::upkeep;
use crate::compare::{Contender, Look, Moment};
use crate::limits::saturation::patient;
use crate::report::Version;
use crate::validity::{Build, Invariant};
use crate::workload::Sampled;

/// Both services, ready and with merchants.
pub struct Pairing {
    /// As sentences call them.
    pub labels: [String; 2],
    tuned: [bool; 2],
    services: [Service; 2],
    /// Before the first slice; one of each, or none yet.
    before: Arc<Mutex<Vec<Look>>>,
}

impl Bench {
    /// Starts both services for `scenario`, each on a database of its own.
    pub async fn pairing(&self, scenario: &str, pair: &Pair) -> anyhow::Result<Pairing> {
        let mut services = Vec::new();
        for side in &pair.0 {
            let home = self.home_called(side.twin, &format!("{scenario}_{}", side.name)).await?;
            let mut special = Special::default();
            if let Some(tuned) = &side.tuned {
                special.program = Some(side.twin.tuned_binary()?);
                special.env = tuned.env(self.places()?);
            }
            if let Some(Traced { endpoint, .. }) = &side.traced {
                special.env.push((EXPORTER.to_owned(), endpoint.clone()));
                // One that is refused has no tree to compare; how long it would have waited is a row.
                special.env.extend(patient());
            }
            let mut service = self.service(&home, &special).await?;
            service.contender.name.clone_from(&side.name);
            service.contender.target.sampled =
                side.traced.as_ref().map_or_else(Sampled::default, |traced| traced.sampled);
            services.push(service);
        }
        Ok(Pairing {
            labels: pair.0.each_ref().map(|side| side.label.clone()),
            tuned: pair.0.each_ref().map(|side| side.tuned.is_some()),
            services: services.try_into().map_err(|_| anyhow::anyhow!("one for each of two sides"))?,
            before: Arc::default(),
        })
    }
}

impl Pairing {
    /// As what plays a trace takes them, in the order of their pair.
    pub fn contenders(&self) -> [Contender; 2] {
        self.services.each_ref().map(|service| service.contender.clone())
    }

    /// What each says of itself, and the time from its start to ready, in ms.
    pub fn starts(&self) -> [(Version, f64); 2] {
        self.services.each_ref().map(|service| (service.version.clone(), service.ready_ms))
    }

    /// Who has ended by itself, and the last lines of its log.
    pub fn obituary(&self) -> Option<(&str, String)> {
        let mut both = self.labels.iter().zip(&self.services);
        both.find_map(|(label, service)| Some((label.as_str(), service.last_words()?)))
    }

    /// What each was built from.
    pub fn builds(&self) -> Vec<Build> {
        let build = |index: usize| Build {
            name: self.labels[index].clone(),
            commit: self.services[index].version.commit.clone(),
            profile: self.services[index].version.profile.clone(),
            tuned: self.tuned[index],
        };
        [0, 1].map(build).into()
    }

    /// What is done between making, rehearsal and slices: first both databases are vacuumed and analysed; then, when all is warm, both
    /// services are looked at.
    pub fn settle(&self) -> impl Fn(Moment) -> LocalBoxFuture<'static, anyhow::Result<()>> + Send + use<> {
        let urls: Vec<_> = self.services.iter().map(|service| service.owner_url.clone()).collect();
        let (watched, before) = (self.watched(), Arc::clone(&self.before));
        move |moment| {
            let (urls, watched, before) = (urls.clone(), watched.clone(), Arc::clone(&before));
            async move {
                match moment {
                    Moment::Made => upkeep::vacuum(&urls).await?,
                    Moment::Warm => {
                        let looks = watched.iter().map(|(pid, admin)| look(*pid, admin));
                        *locked(&before) = try_join_all(looks).await?;
                    }
                }
                Ok(())
            }
            .boxed_local()
        }
    }

    fn watched(&self) -> Vec<(u32, String)> {
        self.services.iter().map(Service::watched).collect()
    }

    /// What each one's process and runtime told before the first slice, and tell now; nothing of one that has ended.
    pub async fn looks(&self) -> anyhow::Result<Vec<Option<[Look; 2]>>> {
        let before = locked(&self.before).clone();
        let mut looks = Vec::new();
        for (index, service) in self.services.iter().enumerate() {
            let (pid, admin) = service.watched();
            looks.push(match before.get(index) {
                Some(before) if service.last_words().is_none() => {
                    Some([before.clone(), look(pid, &admin).await?])
                }
                Some(_) | None => None,
            });
        }
        Ok(looks)
    }

    /// Spans that each one has lost; none of one that has ended, which voids the run anyway.
    pub async fn spans_dropped(&self) -> anyhow::Result<[u64; 2]> {
        let mut dropped = [0; 2];
        for (dropped, service) in dropped.iter_mut().zip(&self.services) {
            if service.last_words().is_none() {
                *dropped = service.spans_dropped().await?;
            }
        }
        Ok(dropped)
    }

    /// Rows in each one's database, in the order of the player's effects.
    pub async fn rows(&self) -> anyhow::Result<Vec<Vec<u64>>> {
        let mut rows = Vec::new();
        for service in &self.services {
            rows.push(service.rows().await?);
        }
        Ok(rows)
    }

    /// Requests of the load that each one counted; nothing of one that has ended.
    pub async fn counted(&self) -> anyhow::Result<Vec<Option<u64>>> {
        let mut all = Vec::new();
        for service in &self.services {
            let alive = service.last_words().is_none();
            all.push(if alive { Some(service.counted().await?) } else { None });
        }
        Ok(all)
    }

    /// What must always hold in each one's database, as its owner finds it.
    pub async fn invariants(&self) -> anyhow::Result<Vec<Vec<Invariant>>> {
        let mut all = Vec::new();
        for service in &self.services {
            all.push(service.invariants().await?);
        }
        Ok(all)
    }

    /// Stops both services.
    pub async fn stop(self) {
        for service in self.services {
            service.stop().await;
        }
    }
}
