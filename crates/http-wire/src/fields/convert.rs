//! Between [`Fields`] and `http::HeaderMap`, for programs that speak the latter.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{FieldError, Fields};

/// A field that `http::HeaderMap` can't hold: its value has a control character, which a lenient
/// [`HeadPolicy`](crate::head::HeadPolicy) lets through, or there are more fields than the map takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field \"{name}\" can't be held by a header map (control character, or too many fields)")]
pub struct NotAHeaderMap {
    /// The name of the field.
    pub name: String,
}

/// Copies into a map. The spelling of names and the order among different names are lost.
impl TryFrom<&Fields> for HeaderMap {
    type Error = NotAHeaderMap;

    fn try_from(fields: &Fields) -> Result<HeaderMap, NotAHeaderMap> {
        let refused = |name: &str| NotAHeaderMap {
            name: name.to_owned(),
        };
        let mut map = HeaderMap::try_with_capacity(fields.len()).map_err(|_| refused(""))?;
        for (name, value) in fields {
            let text = name.as_str();
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused(text))?;
            let value = HeaderValue::from_bytes(value).map_err(|_| refused(text))?;
            map.try_append(name, value).map_err(|_| refused(text))?;
        }
        Ok(map)
    }
}

/// Copies a map, in its order, names in small letters. Fails only when the map is larger than [`Fields`] can be.
impl TryFrom<&HeaderMap> for Fields {
    type Error = FieldError;

    fn try_from(map: &HeaderMap) -> Result<Fields, FieldError> {
        let bytes = map
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let mut fields = Fields::with_capacity(map.len(), bytes);
        for (name, value) in map {
            fields.append(name.as_str(), value.as_bytes())?;
        }
        Ok(fields)
    }
}
