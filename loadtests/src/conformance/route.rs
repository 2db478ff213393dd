//! Which twin and which door each step of a run takes.

use super::case::Door;
use crate::draw::Draw;

/// A running twin.
#[derive(Debug, Clone)]
pub struct Target {
    /// `rust` or `go`.
    pub name: String,
    /// `http://host:port`.
    pub http: String,
    /// `host:port`.
    pub grpc: String,
}

/// A twin and a door.
#[derive(Debug, Clone)]
pub struct Site {
    /// The twin.
    pub target: Target,
    /// The door.
    pub door: Door,
}

/// The way of one run.
pub enum Route {
    /// Every step to one twin through one door.
    Fixed(Site),
    /// Between two twins of one database: steps say when they take the other.
    Cross([Target; 2], [Door; 2]),
    /// Each step to any of the sites, drawn from a seed.
    Scatter(Vec<Site>, Box<Draw>),
}

impl Route {
    /// Where the set-up goes.
    pub fn first(&self) -> Site {
        match self {
            Self::Fixed(site) => site.clone(),
            Self::Cross(targets, doors) => Site { target: targets[0].clone(), door: doors[0] },
            Self::Scatter(sites, _) => sites[0].clone(),
        }
    }

    /// Where the next step goes.
    pub fn site(&mut self, other_target: bool, other_door: bool) -> Site {
        match self {
            Self::Fixed(site) => site.clone(),
            Self::Cross(targets, doors) => Site {
                target: targets[usize::from(other_target)].clone(),
                door: doors[usize::from(other_door)],
            },
            Self::Scatter(sites, draw) => {
                let index = usize::try_from(draw.below(sites.len() as u64)).unwrap_or_default();
                sites[index].clone()
            }
        }
    }
}
