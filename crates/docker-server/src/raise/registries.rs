//! What a registry has said, in Docker's shapes.

use docker_api::types::registries::{
    DistributionInspect, RegistryDescriptor, RegistryPlatform, SearchResult,
};
use engine::view::{Description, Found};

use super::signed;

/// What a registry has under a name.
pub(crate) fn description(found: &Description) -> DistributionInspect {
    let platforms = found.platforms.iter().map(|platform| RegistryPlatform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
    });
    DistributionInspect {
        descriptor: RegistryDescriptor {
            media_type: found.media_type.clone(),
            digest: found.digest.to_string(),
            size: signed(found.size),
        },
        platforms: platforms.collect(),
    }
}

/// One result of a search.
pub(crate) fn found(found: Found) -> SearchResult {
    SearchResult {
        star_count: found.star_count,
        is_official: found.is_official,
        name: found.name,
        is_automated: false,
        description: found.description.unwrap_or_default(),
    }
}
