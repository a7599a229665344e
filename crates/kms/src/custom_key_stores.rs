//! Custom key stores: there are none here, and none can be made. Who asks is told so in the words of
//! AWS KMS, and it is audited as anything else.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{KeyStoreName, PageLimit};
use crate::invalid::Invalid;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct CreateCustomKeyStore {
    name: KeyStoreName,
}

impl TryFrom<v1::CreateCustomKeyStoreRequest> for CreateCustomKeyStore {
    type Error = Refusal;

    fn try_from(sent: v1::CreateCustomKeyStoreRequest) -> Result<Self, Refusal> {
        let name = KeyStoreName::parse_name(sent.custom_key_store_name)?;
        Ok(Self { name: name.ok_or(Invalid::Missing { member: "customKeyStoreName" })? })
    }
}

impl Operation for CreateCustomKeyStore {
    fn action(&self) -> Action {
        Action::CreateCustomKeyStore
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.put("CustomKeyStoreName", self.name.as_str());
    }
}

impl Use for CreateCustomKeyStore {
    fn perform(&self, _: &mut Work<'_>) -> Result<Response, Stop> {
        Err(Refusal::NotOffered { what: "A custom key store".to_owned() }.into())
    }
}

#[derive(Debug)]
pub(crate) struct DescribeCustomKeyStores {
    id: Option<KeyStoreName>,
    name: Option<KeyStoreName>,
    limit: PageLimit,
}

impl TryFrom<v1::DescribeCustomKeyStoresRequest> for DescribeCustomKeyStores {
    type Error = Refusal;

    fn try_from(sent: v1::DescribeCustomKeyStoresRequest) -> Result<Self, Refusal> {
        if !sent.marker.is_empty() {
            return Err(Refusal::InvalidMarker);
        }
        Ok(Self {
            id: KeyStoreName::parse_id(sent.custom_key_store_id)?,
            name: KeyStoreName::parse_name(sent.custom_key_store_name)?,
            limit: PageLimit::parse(sent.limit, 100, 1000)?,
        })
    }
}

impl Operation for DescribeCustomKeyStores {
    fn action(&self) -> Action {
        Action::DescribeCustomKeyStores
    }

    fn tell(&self, told: &mut Told<'_>) {
        if let Some(id) = &self.id {
            told.put("CustomKeyStoreId", id.as_str());
        }
        if let Some(name) = &self.name {
            told.put("CustomKeyStoreName", name.as_str());
        }
        told.put("Limit", &self.limit.get().to_string());
    }
}

impl Use for DescribeCustomKeyStores {
    fn perform(&self, _: &mut Work<'_>) -> Result<Response, Stop> {
        match self.id.as_ref().or(self.name.as_ref()) {
            Some(named) => Err(unknown(named).into()),
            None => Ok(v1::DescribeCustomKeyStoresResponse::default().into()),
        }
    }
}

/// What is done with a custom key store that is there.
#[derive(Debug)]
pub(crate) struct UseCustomKeyStore {
    action: Action,
    id: KeyStoreName,
}

macro_rules! messages {
    ($($message:ident => $action:ident,)*) => {$(
        impl TryFrom<v1::$message> for UseCustomKeyStore {
            type Error = Refusal;

            fn try_from(sent: v1::$message) -> Result<Self, Refusal> {
                let id = KeyStoreName::parse_id(sent.custom_key_store_id)?;
                let id = id.ok_or(Invalid::Missing { member: "customKeyStoreId" })?;
                Ok(Self { action: Action::$action, id })
            }
        }
    )*};
}
messages! {
    ConnectCustomKeyStoreRequest => ConnectCustomKeyStore,
    DisconnectCustomKeyStoreRequest => DisconnectCustomKeyStore,
    UpdateCustomKeyStoreRequest => UpdateCustomKeyStore,
    DeleteCustomKeyStoreRequest => DeleteCustomKeyStore,
}

impl Operation for UseCustomKeyStore {
    fn action(&self) -> Action {
        self.action
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.put("CustomKeyStoreId", self.id.as_str());
    }
}

impl Use for UseCustomKeyStore {
    fn perform(&self, _: &mut Work<'_>) -> Result<Response, Stop> {
        Err(unknown(&self.id).into())
    }
}

fn unknown(named: &KeyStoreName) -> Refusal {
    Refusal::UnknownCustomKeyStore { given: named.as_str().to_owned() }
}
