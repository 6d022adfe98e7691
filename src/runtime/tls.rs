//! TLS 1.3 on the board's port and in the command line: keys are pinned, names are not believed.
//!
//! A board proves who it is by its identity key: the SHA-256 of the certificate's public key is the
//! board's id (`security/certificate.rs`). Whoever connects from here knows that id beforehand
//! ([`Pin`]) or gets no connection; there is no list of authorities and no trust on first use.
//! Older versions than 1.3 are refused, sessions are not resumed (nothing is kept for a client that
//! is gone), and without AES in the CPU ChaCha20 is chosen, which is several times faster there.
//!
//! Source: RFC 8446; RFC 7469 §2.4 (the form `sha256//…` of a pin, as curl writes it).

use std::io;
use std::pin::Pin as Pinned;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, ServerConfig,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;

use super::opening::Opened;

/// The first byte of a TLS record that carries a handshake (RFC 8446 §5.1).
pub const HANDSHAKE_BYTE: u8 = 0x16;

/// The one protocol that is spoken within (RFC 7301).
const HTTP: &[u8] = b"http/1.1";

/// Why TLS cannot be spoken: the identity key or the certificate does not serve.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(#[from] rustls::Error);

/// What a board answers TLS clients with; clones share the certificate.
#[derive(Clone)]
pub struct Terminator {
    acceptor: TlsAcceptor,
    own: Arc<Own>,
}

#[derive(Debug)]
struct Own {
    key: Arc<dyn rustls::sign::SigningKey>,
    certified: RwLock<Arc<CertifiedKey>>,
}

impl Terminator {
    /// Answers with this identity key, its PKCS#8 document, and this certificate of it.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(document: &[u8], certificate: Vec<u8>) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(document));
        let key = ring::sign::any_ecdsa_type(&key)?;
        let own = Arc::new(Own {
            certified: RwLock::new(certified(&key, certificate)),
            key,
        });
        Ok(Terminator {
            acceptor: TlsAcceptor::from(Arc::new(answering(own.clone(), has_aes())?)),
            own,
        })
    }

    /// New connections are answered with this certificate of the same key.
    pub fn set_certificate(&self, certificate: Vec<u8>) {
        let certified = certified(&self.own.key, certificate);
        let current = self.own.certified.write();
        *current.unwrap_or_else(PoisonError::into_inner) = certified;
    }

    /// Shakes hands; the caller bounds the time.
    ///
    /// # Errors
    /// The client's: it broke off, speaks no TLS 1.3, or no `http/1.1` within.
    pub async fn accept(&self, stream: Opened<TcpStream>) -> io::Result<Shaken> {
        let stream = self.acceptor.accept(stream).await?;
        Ok(stream.into())
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.certified.read();
        Some(current.unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn certified(key: &Arc<dyn rustls::sign::SigningKey>, certificate: Vec<u8>) -> Arc<CertifiedKey> {
    let chain = vec![CertificateDer::from(certificate)];
    Arc::new(CertifiedKey::new(chain, key.clone()))
}

/// What clients are answered with. Without AES in this CPU its order counts, otherwise the
/// client's: a phone without it names ChaCha20 first.
fn answering(own: Arc<Own>, has_aes: bool) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(provider(has_aes));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(own);
    config.ignore_client_order = !has_aes;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![HTTP.to_vec()];
    Ok(config)
}

/// The primitives, in the order in which we prefer them.
fn provider(has_aes: bool) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !has_aes {
        let chacha = ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
        provider.cipher_suites.sort_by_key(|suite| *suite != chacha);
    }
    provider
}

/// The CPU computes AES by itself.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let has = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let has = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    let has = false;
    has
}

/// Which board a client means: the one whose id is the SHA-256 of its public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub Id);

/// Why a text is no pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no board's id; write its 64 hex digits, or sha256// and the same in Base64 \
     (`roundel status` on the board shows it)"
)]
pub struct PinError(String);

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let refused = || PinError(text.chars().take(80).collect());
        if let Some(packed) = text.strip_prefix("sha256//") {
            let bytes = STANDARD.decode(packed).map_err(|_| refused())?;
            let bytes: [u8; Id::BYTES] = bytes.try_into().map_err(|_| refused())?;
            return Ok(Pin(Id::from_bytes(bytes)));
        }
        text.parse().map(Pin).map_err(|_| refused())
    }
}

impl Pin {
    /// As curl's `--pinnedpubkey` takes it.
    pub fn to_curl(self) -> String {
        format!("sha256//{}", STANDARD.encode(self.0.as_bytes()))
    }
}

/// Why a board cannot be asked over TLS.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there, or the way is blocked.
    #[error("{0}")]
    Tcp(#[source] io::Error),
    /// It proved another id than the pinned one, or none was pinned.
    #[error("it has the id {found}")]
    OtherKey {
        /// Its id.
        found: Id,
    },
    /// It speaks no TLS 1.3, or broke off.
    #[error("{0}")]
    Handshake(#[source] io::Error),
    /// Our own set-up.
    #[error(transparent)]
    Setup(#[from] TlsError),
}

/// Connects in the clear.
///
/// # Errors
/// [`ConnectError::Tcp`].
pub async fn connect_plain(to: SocketAddr) -> Result<Channel, ConnectError> {
    let stream = open(to).await?;
    Ok(Channel::Plain(Opened::fresh(stream)))
}

async fn open(to: SocketAddr) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect(to).await.map_err(ConnectError::Tcp)?;
    // Without it small requests only wait longer.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Connects to the board of that id; without one only to learn which is there.
///
/// # Errors
/// [`ConnectError`]; without a pin always an error. Nothing was sent but the handshake.
pub async fn connect(to: SocketAddr, pin: Option<Pin>) -> Result<Channel, ConnectError> {
    let provider = Arc::new(provider(has_aes()));
    let verifier = Arc::new(PinnedKey {
        pin,
        found: RwLock::default(),
        provider: provider.clone(),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError)?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    let stream = open(to).await?;
    let name = ServerName::IpAddress(to.ip().into());
    let connector = TlsConnector::from(Arc::new(config));
    let shaken = connector.connect(name, Opened::fresh(stream)).await;
    shaken
        .map(|stream| Channel::Tls(Box::new(Opened::fresh(stream.into()))))
        .map_err(|error| match verifier.found() {
            Some(found) if pin != Some(Pin(found)) => ConnectError::OtherKey { found },
            _ => ConnectError::Handshake(error),
        })
}

/// Takes the certificate of one key, whatever else is in it.
#[derive(Debug)]
struct PinnedKey {
    pin: Option<Pin>,
    /// Whose certificate came.
    found: RwLock<Option<Id>>,
    provider: Arc<CryptoProvider>,
}

impl PinnedKey {
    fn found(&self) -> Option<Id> {
        *self.found.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let found = Id::of(&parsed.subject_public_key_info());
        *self.found.write().unwrap_or_else(PoisonError::into_inner) = Some(found);
        match self.pin {
            Some(Pin(pinned)) if pinned == found => Ok(ServerCertVerified::assertion()),
            _ => Err(rustls::Error::General(
                "the key is not the pinned one".into(),
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// TLS whose handshake is over.
pub type Shaken = TlsStream<Opened<TcpStream>>;

/// A TCP connection, as it is or within TLS; one type, so that what is spoken over it is compiled
/// once.
#[derive(Debug)]
pub enum Channel {
    /// As it is.
    Plain(Opened<TcpStream>),
    /// Within TLS.
    Tls(Box<Opened<Shaken>>),
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Channel::Plain(stream) => Pinned::new(stream).poll_read(context, buffer),
            Channel::Tls(stream) => Pinned::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Channel::Plain(stream) => Pinned::new(stream).poll_write(context, bytes),
            Channel::Tls(stream) => Pinned::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Channel::Plain(stream) => Pinned::new(stream).poll_write_vectored(context, slices),
            Channel::Tls(stream) => Pinned::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Channel::Plain(stream) => stream.is_write_vectored(),
            Channel::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Channel::Plain(stream) => Pinned::new(stream).poll_flush(context),
            Channel::Tls(stream) => Pinned::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Channel::Plain(stream) => Pinned::new(stream).poll_shutdown(context),
            Channel::Tls(stream) => Pinned::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;
    use rustls::client::ClientConnection;
    use rustls::server::ServerConnection;

    use super::*;
    use crate::security::certificate::{self, SERIAL_BYTES, Subject};
    use crate::security::identity::{Identity, Signer};

    const CHACHA: CipherSuite = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    const AES: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;

    /// What a board and a client that offers these, in this order, agree on.
    fn negotiated(board_has_aes: bool, offered: [CipherSuite; 2]) -> Option<CipherSuite> {
        let document = Identity::generate().unwrap();
        let identity = Identity::from_pkcs8(&document).unwrap();
        let subject = Subject {
            name: "board".into(),
            hosts: [].into(),
            addresses: ["192.0.2.1".parse().unwrap()].into(),
        };
        let shown = certificate::make(&identity, &subject, [1; SERIAL_BYTES]);
        let terminator = Terminator::new(&document, shown).unwrap();
        let config = answering(terminator.own, board_has_aes).unwrap();
        let mut board = ServerConnection::new(Arc::new(config)).unwrap();

        let mut ours = ring::default_provider();
        let place = |suite: CipherSuite| offered.iter().position(|it| *it == suite);
        ours.cipher_suites.retain(|it| place(it.suite()).is_some());
        ours.cipher_suites.sort_by_key(|it| place(it.suite()));
        let ours = Arc::new(ours);
        let verifier = PinnedKey {
            pin: Some(Pin(identity.id())),
            found: RwLock::default(),
            provider: ours.clone(),
        };
        let mut config = ClientConfig::builder_with_provider(ours)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![HTTP.to_vec()];
        let name = ServerName::try_from("192.0.2.1").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        while client.is_handshaking() || board.is_handshaking() {
            let mut said = Vec::new();
            client.write_tls(&mut said).unwrap();
            board.read_tls(&mut &said[..]).unwrap();
            board.process_new_packets().unwrap();
            let mut said = Vec::new();
            board.write_tls(&mut said).unwrap();
            client.read_tls(&mut &said[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        client.negotiated_cipher_suite().map(|it| it.suite())
    }

    #[test]
    fn chacha20_is_chosen_where_either_side_lacks_aes() {
        assert_eq!(negotiated(true, [AES, CHACHA]), Some(AES));
        assert_eq!(negotiated(true, [CHACHA, AES]), Some(CHACHA));
        assert_eq!(negotiated(false, [AES, CHACHA]), Some(CHACHA));
        assert_eq!(negotiated(false, [CHACHA, AES]), Some(CHACHA));
    }

    #[test]
    fn a_pin_is_an_id_in_hex_or_as_curl_writes_it() {
        let pin = Pin(Id::of(b"key"));
        assert_eq!(pin.0.to_string().parse(), Ok(pin));
        assert_eq!(pin.to_curl().parse(), Ok(pin));
        for text in [
            "",
            "sha256//",
            "sha256//AAAA",
            "key",
            &pin.0.to_string()[1..],
        ] {
            let refused = text.parse::<Pin>().unwrap_err();
            assert!(refused.to_string().contains("64 hex digits"), "{refused}");
        }
    }
}
