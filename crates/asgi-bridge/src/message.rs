//! Reading what an application gives to `send()`.

use bytes::Bytes;
use http::StatusCode;
use http_wire::Known;
use http_wire::fields::Fields;
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView, PyString, PyTuple};
use wsgi_bridge::shared::{append_latin1, borrow_text, bytes_of, is_field_text};

/// The head of a response.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub status: StatusCode,
    pub fields: Fields,
    /// `http.response.trailers` will follow the content.
    pub trailers: bool,
}

/// A message: a dict, or something like one.
pub(crate) struct Message<'a, 'py>(&'a Bound<'py, PyAny>);

impl<'a, 'py> Message<'a, 'py> {
    pub fn py(&self) -> Python<'py> {
        self.0.py()
    }

    pub fn new(message: &'a Bound<'py, PyAny>) -> Self {
        Self(message)
    }

    /// A value, `None` where it is absent or `None`.
    pub fn get(&self, key: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Ok(dict) = self.0.cast_exact::<PyDict>() {
            return Ok(dict.get_item(key)?.filter(|value| !value.is_none()));
        }
        match self.0.get_item(key) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_none())),
            Err(error) if error.is_instance_of::<PyKeyError>(self.0.py()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A value that must be there.
    pub fn need(&self, key: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        self.get(key)?
            .ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    }

    /// The type of the message.
    pub fn kind(&self) -> PyResult<Bound<'py, PyString>> {
        let kind = self.need(pyo3::intern!(self.0.py(), "type"))?;
        Ok(kind.cast_into::<PyString>()?)
    }

    /// Whether a value is there and true.
    pub fn flag(&self, key: &Bound<'py, PyString>) -> PyResult<bool> {
        self.get(key)?.map_or(Ok(false), |value| value.is_truthy())
    }

    /// The `body`, empty where it is absent.
    pub fn body(&self) -> PyResult<Bytes> {
        match self.get(pyo3::intern!(self.0.py(), "body"))? {
            Some(body) => octets(&body),
            None => Ok(Bytes::new()),
        }
    }

    /// `status` and `headers`.
    pub fn head(&self) -> PyResult<Head> {
        let py = self.0.py();
        let status = self.need(pyo3::intern!(py, "status"))?;
        let status = read_status(&status)?;
        let mut head = Head {
            status,
            ..Head::default()
        };
        if let Some(headers) = self.get(pyo3::intern!(py, "headers"))? {
            read_fields(&headers, &mut head.fields)?;
        }
        head.trailers = self.flag(pyo3::intern!(py, "trailers"))?;
        if status == StatusCode::NO_CONTENT {
            head.fields.remove(Known::ContentLength);
        }
        Ok(head)
    }
}

fn read_status(status: &Bound<'_, PyAny>) -> PyResult<StatusCode> {
    let number: u16 = status.extract().map_err(|_| {
        PyTypeError::new_err(format!("status must be a number, got {}", repr(status)))
    })?;
    if !(200..=999).contains(&number) {
        return Err(PyValueError::new_err(format!(
            "status {number} is no final status (200 and up)"
        )));
    }
    StatusCode::from_u16(number)
        .map_err(|_| PyValueError::new_err(format!("invalid status {number}")))
}

/// Reads names and values, which are bytes (texts are taken too, as other servers do).
pub(crate) fn read_fields(headers: &Bound<'_, PyAny>, fields: &mut Fields) -> PyResult<()> {
    if let Ok(list) = headers.cast_exact::<PyList>() {
        *fields = Fields::with_capacity(list.len(), list.len() * 40);
        for item in list {
            read_field(&item, fields)?;
        }
        return Ok(());
    }
    for item in headers.try_iter()? {
        read_field(&item?, fields)?;
    }
    Ok(())
}

fn read_field(item: &Bound<'_, PyAny>, fields: &mut Fields) -> PyResult<()> {
    let (name, value) = pair(item)?;
    let (mut of_name, mut of_value) = (Vec::new(), Vec::new());
    let name_bytes = field_bytes(&name, &mut of_name, "header name")?;
    let value_bytes = field_bytes(&value, &mut of_value, "value of a header")?;
    // Only the name is told: the value may be a secret.
    if !is_field_text(value_bytes) {
        return Err(PyValueError::new_err(format!(
            "value of header {} has characters that cannot be sent",
            repr(&name)
        )));
    }
    let appended = match Known::find(name_bytes) {
        Some(known) if known.as_str().as_bytes() == name_bytes => fields.append(known, value_bytes),
        _ => match std::str::from_utf8(name_bytes) {
            Ok(name) => fields.append(name, value_bytes),
            Err(_) => {
                return Err(PyValueError::new_err(format!(
                    "Invalid HTTP header {}",
                    repr(&name)
                )));
            }
        },
    };
    appended.map_err(|error| {
        PyValueError::new_err(format!("Invalid HTTP header {}: {error}", repr(&name)))
    })
}

fn pair<'py>(item: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    if let Ok(pair) = item.cast_exact::<PyTuple>()
        && pair.len() == 2
    {
        return Ok((pair.get_item(0)?, pair.get_item(1)?));
    }
    if let Ok(pair) = item.cast_exact::<PyList>()
        && pair.len() == 2
    {
        return Ok((pair.get_item(0)?, pair.get_item(1)?));
    }
    item.extract()
}

fn field_bytes<'a>(
    item: &'a Bound<'_, PyAny>,
    scratch: &'a mut Vec<u8>,
    what: &str,
) -> PyResult<&'a [u8]> {
    if let Ok(bytes) = item.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    let Ok(text) = item.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "{what} must be bytes, got {}",
            kind(item)
        )));
    };
    append_latin1(borrow_text(text)?, scratch)
        .map_err(|_| PyValueError::new_err(format!("{what} has characters that cannot be sent")))?;
    Ok(scratch)
}

/// Bytes, or what can be seen as bytes. What the application may change later is copied.
pub(crate) fn octets(item: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if item.is_instance_of::<PyBytes>() {
        return bytes_of(item);
    }
    if let Ok(array) = item.cast::<PyByteArray>() {
        return Ok(Bytes::from(array.to_vec()));
    }
    if let Ok(view) = item.cast::<PyMemoryView>() {
        return bytes_of(&view.call_method0("tobytes")?);
    }
    Err(PyTypeError::new_err(format!(
        "content must be bytes, not {}",
        kind(item)
    )))
}

pub(crate) fn repr(object: &Bound<'_, PyAny>) -> String {
    object.repr().map_or_else(
        |_| "?".to_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}

fn kind(object: &Bound<'_, PyAny>) -> String {
    object
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string())
}
