//! Errors as Docker's clients know them: a status and one line. Decided here, nowhere else.

use docker_api::json::JsonError;
use docker_api::types::ErrorResponse;
use engine::{EngineError, NetworkError, RegistryFailure};
use http::StatusCode;
use model::id::BadContainerName;
use model::life::StartFailure;
use model::platform::BadPlatform;
use model::reference::ParseReferenceError;
use model::signal::BadSignal;

use crate::lower::{ExecError, LowerError, ProcessError, Unsupported, WishError};
use crate::params::ParamError;
use crate::quirks::{MIN, VersionError};
use crate::reply::{self, Reply};
use model::detach::BadDetachKeys;

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn later(what: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("not supported yet: {what}"))
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(crate) fn into_reply(self) -> Reply {
        reply::json_status(self.status, &ErrorResponse { message: self.message })
    }
}

impl From<EngineError> for HttpError {
    fn from(error: EngineError) -> Self {
        Self::new(status(&error), describe(&error))
    }
}

fn status(error: &EngineError) -> StatusCode {
    use EngineError as E;
    match error {
        E::NoSuchContainer(_)
        | E::NoPreviousLog(_)
        | E::NoSuchImage(_)
        | E::NoSuchVolume(_)
        | E::NoSuchNetwork(_)
        | E::NoSuchExec(_)
        | E::NoSuchFile { .. }
        | E::NoSuchCheckpoint { .. }
        | E::NotInRegistry(_) => StatusCode::NOT_FOUND,
        E::RegistryUnauthorized(_) => StatusCode::UNAUTHORIZED,
        E::RegistryRateLimit(_) => StatusCode::TOO_MANY_REQUESTS,
        E::Ambiguous(_)
        | E::BadReference(_)
        | E::BadCheckpointName(_)
        | E::SameName
        | E::DuplicateMount(_)
        | E::Resolve(_)
        | E::Invalid(_)
        | E::OldImage(_)
        | E::User(_)
        | E::NoBindSource(_) => StatusCode::BAD_REQUEST,
        E::NameTaken { .. }
        | E::NotRunning(_)
        | E::CannotJoin { .. }
        | E::CannotJoinNetwork(_)
        | E::NotShareable(_)
        | E::CheckpointExists { .. }
        | E::CheckpointPaused(_)
        | E::CannotCheckpoint { .. }
        | E::StillRunning { .. }
        | E::Update { .. }
        | E::StartPaused
        | E::Paused(_)
        | E::AttachPaused(_)
        | E::Restarting(_)
        | E::AttachRestarting(_)
        | E::NotWanted(_)
        | E::RestartOfAutoRemoved(_)
        | E::AlreadyPaused(_)
        | E::BeingRemoved(_)
        | E::ExecHasRun(_)
        | E::ExecEnded(_)
        | E::VolumeInUse { .. }
        | E::Volume(_)
        | E::ImageInUse(_) => StatusCode::CONFLICT,
        E::Start(failure) => start_status(failure),
        E::Network(error) => network_status(error),
        E::Registries(failure) => registry_status(failure),
        E::LogNotKept | E::NoCriu(_) => StatusCode::NOT_IMPLEMENTED,
        E::LogTag { .. } | E::LogHost { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        // Docker's word for a container that is not paused is a server error, and clients know it.
        E::NotPaused(_)
        // Nor does it tell ps's own failures from those of its arguments.
        | E::Top(_)
        | E::NoRandomness(_)
        | E::Db(_)
        | E::Store(_)
        | E::Registry(_)
        | E::RegistryConfig(_)
        | E::Download(_)
        | E::Net(_)
        | E::Cgroup(_)
        | E::ContainerPath { .. }
        | E::Unmountable { .. }
        | E::Shim { .. }
        | E::Damaged { .. }
        | E::CheckpointFailed { .. }
        | E::Record { .. }
        | E::File { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn registry_status(failure: &RegistryFailure) -> StatusCode {
    match failure {
        RegistryFailure::NotToPush(_) => StatusCode::NOT_FOUND,
        RegistryFailure::LoginRefused(_) => StatusCode::UNAUTHORIZED,
        RegistryFailure::Push(_) | RegistryFailure::Login(_) | RegistryFailure::Search(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// A command that is missing (127) or cannot be run (126) is the caller's mistake.
fn start_status(failure: &StartFailure) -> StatusCode {
    match failure.code.0 {
        126 | 127 => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn network_status(error: &NetworkError) -> StatusCode {
    use NetworkError as N;
    match error {
        N::Exists(_) => StatusCode::CONFLICT,
        N::Predefined(_)
        | N::Permanent(_)
        | N::Active { .. }
        | N::Overlap { .. }
        | N::SameBridge { .. }
        | N::BridgeElsewhere { .. }
        | N::ParentTaken { .. }
        | N::AlreadyOn { .. }
        | N::OnlyConfiguration(_)
        | N::AddressTaken { .. }
        | N::NoConfiguration(_)
        | N::NotConfiguration(_)
        | N::ManySubnets
        | N::ConfigurationInUse(_) => StatusCode::FORBIDDEN,
        N::Ambiguous(_)
        | N::NoPool(_)
        | N::NoGateway(_)
        | N::Option(_)
        | N::NoIpv6 { .. }
        | N::HostNetwork
        | N::SharedNetwork
        | N::NoNetwork
        | N::DefaultAddress
        | N::DefaultAliases
        | N::UsersDefault
        | N::UsersDriver(_)
        | N::UsersFamily
        | N::UsersLeft(_)
        | N::UsersOption { .. }
        | N::ParentsMac(_)
        | N::NoFamily
        | N::NothingHere(_)
        | N::NoNames(_)
        | N::Outside { .. } => StatusCode::BAD_REQUEST,
        N::Record { .. }
        | N::FoundAddress { .. }
        | N::Chosen { .. }
        | N::Exhausted { .. }
        | N::NotOn { .. }
        | N::NoDriver { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The error and its causes in one line, no cause told twice.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

impl From<LowerError> for HttpError {
    fn from(error: LowerError) -> Self {
        if let LowerError::Unsupported(error) = error {
            return error.into();
        }
        Self::bad_request(error.to_string())
    }
}

impl From<WishError> for HttpError {
    fn from(error: WishError) -> Self {
        let status = match error {
            WishError::Lower(error) => return error.into(),
            WishError::NoDriver(_) => StatusCode::NOT_FOUND,
            WishError::OnlyOne(_)
            | WishError::ManySubnets
            | WishError::ConfigurationOperates
            | WishError::ConfigurationOfConfiguration
            | WishError::BesideConfiguration => StatusCode::FORBIDDEN,
            WishError::Name(_) | WishError::Pools(_) | WishError::Option(_) => {
                StatusCode::BAD_REQUEST
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<Unsupported> for HttpError {
    fn from(error: Unsupported) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, error.to_string())
    }
}

impl From<ExecError> for HttpError {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Lower(error) => error.into(),
            ExecError::NoCommand => Self::bad_request(error.to_string()),
        }
    }
}

/// Whatever these say is the caller's mistake.
macro_rules! bad_request {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for HttpError {
            fn from(error: $error) -> Self {
                Self::bad_request(error.to_string())
            }
        }
    )*};
}

bad_request!(
    ParamError,
    BadDetachKeys,
    BadContainerName,
    BadPlatform,
    BadSignal,
    ProcessError,
    ParseReferenceError,
);

impl From<JsonError> for HttpError {
    fn from(error: JsonError) -> Self {
        Self::bad_request(match error {
            JsonError::Eof => "invalid JSON: got EOF while reading request body".to_owned(),
            JsonError::Trailing => error.to_string(),
            JsonError::Syntax(_) | JsonError::Duplicate(_) | JsonError::Shape { .. } => {
                format!("invalid JSON: {error}")
            }
        })
    }
}

/// A client so old that Docker answers it in plain text.
pub(crate) fn version_reply(error: VersionError) -> Reply {
    match error {
        VersionError::TooOld(version) if version < MIN => {
            reply::text(StatusCode::BAD_REQUEST, format!("{error}\n"))
        }
        VersionError::TooOld(_) | VersionError::TooNew(_) => {
            HttpError::bad_request(error.to_string()).into_reply()
        }
    }
}
