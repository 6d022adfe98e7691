//! The arguments of one request, matched against what its method takes.
//!
//! Unknown, missing, repeated and misplaced arguments are refused by name; the values themselves
//! are read by the accessors. A null stands for an argument left out, but for `value` of a put,
//! which is read with [`Args::raw`].

use std::borrow::Cow;

use base64::Engine;
use bytes::Bytes;

use crate::base::call::Consistency;
use crate::base::code::JoinCode;
use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::item::Key;
use crate::base::limit;
use crate::service::Failure;
use crate::service::address::Address;
use crate::wire::jsonrpc::{Code, Json, Params, Request, nearest};

use super::{Method, Param, Takes};

/// Parameters this version does not carry out, wherever they are given.
const NOT_SUPPORTED: [&str; 1] = ["expect"];

/// The arguments of a request.
pub struct Args<'a> {
    params: &'static [Param],
    values: Vec<Option<Json<'a>>>,
    text: Option<Json<'a>>,
}

impl<'a> Args<'a> {
    /// Matches the request's params with what the method takes.
    ///
    /// # Errors
    /// -32602 that names the argument.
    pub fn bind(method: &Method, request: &Request<'a>) -> Result<Self, Failure> {
        let Takes::Params(params) = method.takes else {
            return Ok(Args {
                params: &[],
                values: Vec::new(),
                text: request.params_text,
            });
        };
        let mut values = vec![None; params.len()];
        match &request.params {
            Params::None => {}
            Params::Positional(elements) if elements.len() > params.len() => {
                return Err(Failure::params(format!(
                    "{} takes at most {} parameters and got {}; leave the rest out",
                    method.name,
                    params.len(),
                    elements.len()
                )));
            }
            Params::Positional(elements) => {
                for (value, element) in values.iter_mut().zip(elements) {
                    *value = Some(*element);
                }
            }
            Params::Named(members) => {
                for (name, value) in members {
                    let index = params.iter().position(|param| param.name == name);
                    values[index.ok_or_else(|| unknown(method, params, name))?] = Some(*value);
                }
            }
        }
        for (param, value) in params.iter().zip(&values) {
            if param.required && value.is_none() {
                return Err(Failure::params(format!(
                    "{} needs parameter '{}': {}; add it",
                    method.name, param.name, param.kind
                )));
            }
        }
        Ok(Args {
            params,
            values,
            text: request.params_text,
        })
    }

    /// The params as they were sent.
    pub fn text(&self) -> Option<Json<'a>> {
        self.text
    }

    /// An argument as it was sent, null included.
    ///
    /// # Panics
    /// When the method does not declare a parameter of that name.
    pub fn raw(&self, name: &str) -> Option<Json<'a>> {
        let index = self
            .params
            .iter()
            .position(|param| param.name == name)
            .expect("a method reads only the parameters it declares");
        self.values[index]
    }

    /// An argument that is a string.
    ///
    /// # Errors
    /// -32602 when it is something else.
    pub fn text_of(&self, name: &str) -> Result<Option<Cow<'a, str>>, Failure> {
        match self.raw(name).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => value.as_string().map(Some).ok_or_else(|| {
                Failure::params(format!(
                    "parameter '{name}' is a string; put it into quotes"
                ))
            }),
        }
    }

    /// An argument that is a key.
    ///
    /// # Errors
    /// -32602 when it is no string or empty, -32005 when it is too long.
    pub fn key(&self, name: &str) -> Result<Option<Key>, Failure> {
        let Some(text) = self.text_of(name)? else {
            return Ok(None);
        };
        Key::new(&text).map(Some).map_err(|error| {
            let code = if text.is_empty() {
                Code::InvalidParams
            } else {
                Code::TooLarge
            };
            Failure::new(
                code,
                format!("parameter '{name}': {error}; choose another key"),
            )
        })
    }

    /// A key that cannot be left out.
    ///
    /// # Errors
    /// As [`Args::key`]; -32602 when it is null.
    pub fn key_required(&self, name: &str) -> Result<Key, Failure> {
        self.key(name)?.ok_or_else(|| null(name))
    }

    /// An argument that is an id.
    ///
    /// # Errors
    /// -32602 when it is something else.
    pub fn id(&self, name: &str) -> Result<Option<Id>, Failure> {
        let Some(text) = self.text_of(name)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error| {
            Failure::params(format!(
                "parameter '{name}': {error}; list ids with `roundel nodes`"
            ))
        })
    }

    /// An id that cannot be left out.
    ///
    /// # Errors
    /// As [`Args::id`]; -32602 when it is null.
    pub fn id_required(&self, name: &str) -> Result<Id, Failure> {
        self.id(name)?.ok_or_else(|| null(name))
    }

    /// A one-time code that cannot be left out.
    ///
    /// # Errors
    /// -32602 when it is something else.
    pub fn join_code(&self, name: &str) -> Result<JoinCode, Failure> {
        let text = self.text_of(name)?.ok_or_else(|| null(name))?;
        let code = text.parse::<JoinCode>();
        code.map_err(|error| Failure::params(format!("parameter '{name}': {error}")))
    }

    /// A numeric address that cannot be left out.
    ///
    /// # Errors
    /// -32602 when it is something else.
    pub fn address(&self, name: &str) -> Result<SocketAddr, Failure> {
        let text = self.text_of(name)?.ok_or_else(|| null(name))?;
        Address::parse(&text)
            .map(|address| address.endpoint)
            .ok_or_else(|| {
                Failure::params(format!(
                    "parameter '{name}' is a numeric address and port like 192.168.1.7:38400"
                ))
            })
    }

    /// A whole number of `min` to `max`.
    ///
    /// # Errors
    /// -32602 when it is something else.
    pub fn number(&self, name: &str, min: usize, max: usize) -> Result<Option<usize>, Failure> {
        let Some(value) = self.raw(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| (min..=max).contains(number))
            .map(Some)
            .ok_or_else(|| {
                Failure::params(format!(
                    "parameter '{name}' is a whole number from {min} to {max}"
                ))
            })
    }

    /// Bytes in base64.
    ///
    /// # Errors
    /// -32602 when it is something else.
    pub fn base64(&self, name: &str) -> Result<Option<Bytes>, Failure> {
        let Some(text) = self.text_of(name)? else {
            return Ok(None);
        };
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
        bytes.map(|bytes| Some(bytes.into())).map_err(|_| {
            Failure::params(format!(
                "parameter '{name}' is base64 with padding (RFC 4648 §4); encode it anew"
            ))
        })
    }

    /// How many copies must agree.
    ///
    /// # Errors
    /// -32602 when it is none of the three.
    pub fn consistency(&self) -> Result<Consistency, Failure> {
        match self.text_of("consistency")?.as_deref() {
            None | Some("quorum") => Ok(Consistency::Quorum),
            Some("one") => Ok(Consistency::One),
            Some("all") => Ok(Consistency::All),
            Some("strong") => Err(Failure::params(
                "consistency \"strong\" is not supported by this version; use \"quorum\" or \
                    \"all\"",
            )),
            Some(_) => Err(Failure::params(
                "consistency is \"one\", \"quorum\" or \"all\"; leave it out for \"quorum\"",
            )),
        }
    }

    /// A prefix of keys; empty when left out.
    ///
    /// # Errors
    /// -32602 when it is no string, -32005 when no key can be that long.
    pub fn prefix(&self) -> Result<String, Failure> {
        let prefix = self.text_of("prefix")?.unwrap_or_default();
        if prefix.len() > limit::KEY_BYTES_MAX {
            return Err(Failure::new(
                Code::TooLarge,
                "parameter 'prefix' is longer than any key can be; shorten it",
            ));
        }
        Ok(prefix.into_owned())
    }
}

fn null(name: &str) -> Failure {
    Failure::params(format!("parameter '{name}' is null; give it a value"))
}

fn unknown(method: &Method, params: &[Param], name: &str) -> Failure {
    let shown: String = name.chars().take(64).collect();
    if NOT_SUPPORTED.contains(&name) {
        return Failure::params(format!(
            "parameter '{shown}' is not supported by this version; leave it out"
        ));
    }
    let names = || params.iter().map(|param| param.name);
    let hint = match nearest(name, names()) {
        Some(known) => format!("did you mean '{known}'?"),
        None if params.is_empty() => "leave it out".to_owned(),
        None => format!("it takes {}", names().collect::<Vec<_>>().join(", ")),
    };
    Failure::params(format!(
        "{} has no parameter '{shown}'; {hint}",
        method.name
    ))
}
