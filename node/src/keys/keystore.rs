//! Key stores: 32 secret bytes under a password, in the form that Ethereum's wallets share (Web3 Secret Storage, version 3).
//!
//! ```text
//! derived = scrypt(password, salt)                       or PBKDF2-HMAC-SHA-256, in older files
//! ciphertext = AES-128-CTR(derived[..16], iv, secret)
//! mac = keccak256(derived[16..] || ciphertext)           tells a wrong password
//! ```
//!
//! Source: the Ethereum wiki's Web3 Secret Storage Definition; go-ethereum's `accounts/keystore`, whose test vectors are this file's.

use alloy_primitives::{hex, keccak256};
use ctr::cipher::{KeyIvInit, StreamCipher};
use fairway_core::types::Address;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::Secret;

/// What a guess of the password costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// 256 MiB and about a second, as other wallets do.
    Standard,
    /// 4 MiB and a twentieth of a second: for tests, and for passwords of 16 random bytes or more, which nobody guesses.
    Light,
}

/// Why a key store cannot be opened. Repeats nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// The password is not the one that it was closed with, or the file is damaged: the two cannot be told apart.
    #[error("the password does not open this key store")]
    WrongPassword,
    /// Not a key store of version 3.
    #[error("is no key store of version 3: {0}")]
    Malformed(&'static str),
    /// It asks for more memory or time than any wallet does.
    #[error("this key store would take {0} to open, which is refused")]
    TooDear(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Document {
    /// Of an account; in the clear, and not covered by the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Sealed,
    id: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    cipher: String,
    cipherparams: Iv,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct Iv {
    iv: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt { dklen: u32, n: u64, p: u32, r: u32, salt: String },
    Pbkdf2 { c: u32, dklen: u32, prf: String, salt: String },
}

/// Closes a secret with a password. `address` is written into the file where the secret is the key of an account.
///
/// # Errors
/// The system gives no random numbers.
pub fn seal(
    secret: &Secret,
    password: &SecretString,
    cost: Cost,
    address: Option<Address>,
) -> Result<String, getrandom::Error> {
    let (mut salt, mut iv, mut id) = ([0; 32], [0; 16], [0; 16]);
    getrandom::fill(&mut salt)?;
    getrandom::fill(&mut iv)?;
    getrandom::fill(&mut id)?;
    let (n, p) = match cost {
        Cost::Standard => (1 << 18, 1),
        Cost::Light => (1 << 12, 6),
    };
    let kdf = Kdf::Scrypt { dklen: KEY_BYTES, n, p, r: 8, salt: hex::encode(salt) };
    let derived = kdf.derive(password).expect("our own parameters are within our bounds");
    let mut bytes = secret.expose_secret().to_vec();
    apply_cipher(&derived, iv, &mut bytes);
    let document = Document {
        address: address.map(hex::encode),
        crypto: Sealed {
            cipher: CIPHER.into(),
            cipherparams: Iv { iv: hex::encode(iv) },
            mac: hex::encode(mac(&derived, &bytes)),
            ciphertext: hex::encode(bytes),
            kdf,
        },
        id: uuid(id),
        version: VERSION,
    };
    Ok(serde_json::to_string_pretty(&document).expect("texts and numbers are JSON"))
}

/// Opens a key store. Blocks for about a second.
///
/// # Errors
/// [`KeystoreError`].
pub fn open(text: &str, password: &SecretString) -> Result<Secret, KeystoreError> {
    let Sealed { cipher, cipherparams, ciphertext, kdf, mac: stated } = parse(text)?.crypto;
    if cipher != CIPHER {
        return Err(KeystoreError::Malformed("its cipher is not aes-128-ctr"));
    }
    let malformed = |what| move |_| KeystoreError::Malformed(what);
    let iv: [u8; 16] =
        hex::decode_to_array(&cipherparams.iv).map_err(malformed("its iv is not of 16 bytes"))?;
    let stated: [u8; 32] =
        hex::decode_to_array(&stated).map_err(malformed("its mac is not of 32 bytes"))?;
    let mut bytes =
        hex::decode(&ciphertext).map_err(malformed("its ciphertext is not hexadecimal"))?;
    // Some wallets left leading zeros of the key out.
    if bytes.is_empty() || bytes.len() > 32 {
        return Err(KeystoreError::Malformed("its ciphertext is not of 1 to 32 bytes"));
    }
    let derived = kdf.derive(password)?;
    if mac(&derived, &bytes) != stated {
        return Err(KeystoreError::WrongPassword);
    }
    apply_cipher(&derived, iv, &mut bytes);
    let opened: SecretBox<[u8]> = bytes.into_boxed_slice().into();
    let plain = opened.expose_secret();
    Ok(Secret::init_with_mut(|secret| secret[32 - plain.len()..].copy_from_slice(plain)))
}

/// The account that the file says it is of. Nothing proves it before the store is opened; an identity has none.
///
/// # Errors
/// [`KeystoreError::Malformed`].
pub fn stated_address(text: &str) -> Result<Option<Address>, KeystoreError> {
    let Some(text) = parse(text)?.address else { return Ok(None) };
    text.parse().map(Some).map_err(|_| KeystoreError::Malformed("its address is none"))
}

fn parse(text: &str) -> Result<Document, KeystoreError> {
    // The parser's own words could repeat the file.
    let document: Document = serde_json::from_str(text)
        .map_err(|_| KeystoreError::Malformed("a part is missing or is not what it must be"))?;
    if document.version != VERSION {
        return Err(KeystoreError::Malformed("it is of another version"));
    }
    Ok(document)
}

impl Kdf {
    fn derive(&self, password: &SecretString) -> Result<Secret, KeystoreError> {
        let (Kdf::Scrypt { dklen, salt, .. } | Kdf::Pbkdf2 { dklen, salt, .. }) = self;
        if *dklen != KEY_BYTES {
            return Err(KeystoreError::Malformed("its derived key is not of 32 bytes"));
        }
        let salt = hex::decode(salt)
            .map_err(|_| KeystoreError::Malformed("its salt is not hexadecimal"))?;
        let password = password.expose_secret().as_bytes();
        let mut derived = Secret::default();
        match self {
            Kdf::Scrypt { n, p, r, .. } => {
                if n.saturating_mul(u64::from(*r)) > BLOCKS_MAX {
                    return Err(KeystoreError::TooDear("more than 1 GiB of memory"));
                }
                let work = n.saturating_mul(u64::from(*r)).saturating_mul(u64::from(*p));
                if work > WORK_MAX {
                    return Err(KeystoreError::TooDear("minutes"));
                }
                let bad = KeystoreError::Malformed("its scrypt parameters are none");
                if !n.is_power_of_two() {
                    return Err(bad);
                }
                let log_n = u8::try_from(n.ilog2()).map_err(|_| bad.clone())?;
                let params = scrypt::Params::new(log_n, *r, *p).map_err(|_| bad.clone())?;
                scrypt::scrypt(password, &salt, &params, derived.expose_secret_mut())
                    .map_err(|_| bad)?;
            }
            Kdf::Pbkdf2 { c, prf, .. } => {
                if prf != "hmac-sha256" || *c == 0 {
                    return Err(KeystoreError::Malformed("its PBKDF2 parameters are none"));
                }
                if *c > ROUNDS_MAX {
                    return Err(KeystoreError::TooDear("minutes"));
                }
                pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, *c, derived.expose_secret_mut());
            }
        }
        Ok(derived)
    }
}

/// The same turns plain into cipher and back.
fn apply_cipher(derived: &Secret, iv: [u8; 16], bytes: &mut [u8]) {
    let (key, _) = derived.expose_secret().split_at(16);
    let mut cipher = ctr::Ctr128BE::<aes::Aes128>::new_from_slices(key, &iv)
        .expect("key and counter are of 16 bytes");
    cipher.apply_keystream(bytes);
}

fn mac(derived: &Secret, ciphertext: &[u8]) -> [u8; 32] {
    let (_, key) = derived.expose_secret().split_at(16);
    keccak256([key, ciphertext].concat()).0
}

/// 16 random bytes as a UUID of version 4.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

const VERSION: u32 = 3;
const CIPHER: &str = "aes-128-ctr";
const KEY_BYTES: u32 = 32;
/// Blocks of 128 bytes: 1 GiB, four times what wallets take.
const BLOCKS_MAX: u64 = 1 << 23;
/// Sixteen times what wallets take.
const WORK_MAX: u64 = 1 << 25;
/// Some forty times what wallets took.
const ROUNDS_MAX: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the definition and of go-ethereum, `accounts/keystore/testdata/v3_test_vector.json`: document, password, secret.
    const VECTORS: [(&str, &str, &str); 4] = [
        (
            r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#,
            "testpassword",
            "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d",
        ),
        (
            r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#,
            "testpassword",
            "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d",
        ),
        (
            r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"e0c41130a323adc1446fc82f724bca2f"},"ciphertext":"9517cd5bdbe69076f9bf5057248c6c050141e970efa36ce53692d5d59a3984","kdf":"scrypt","kdfparams":{"dklen":32,"n":2,"r":8,"p":1,"salt":"711f816911c92d649fb4c84b047915679933555030b3552c1212609b38208c63"},"mac":"d5e116151c6aa71470e67a7d42c9620c75c4d23229847dcc127794f0732b0db5"},"id":"fecfc4ce-e956-48fd-953b-30f8b52ed66c","version":3}"#,
            "foo",
            "00fa7b3db73dc7dfdf8c5fbdb796d741e4488628c41fc4febd9160a866ba0f35",
        ),
        (
            r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"3ca92af36ad7c2cd92454c59cea5ef00"},"ciphertext":"108b7d34f3442fc26ab1ab90ca91476ba6bfa8c00975a49ef9051dc675aa","kdf":"scrypt","kdfparams":{"dklen":32,"n":2,"r":8,"p":1,"salt":"d0769e608fb86cda848065642a9c6fa046845c928175662b8e356c77f914cd3b"},"mac":"75d0e6759f7b3cefa319c3be41680ab6beea7d8328653474bd06706d4cc67420"},"id":"a37e1559-5955-450d-8075-7b8931b392b2","version":3}"#,
            "foo",
            "000081c29e8142bb6a81bef5a92bda7a8328a5c85bb2f9542e76f9b0f94fc018",
        ),
    ];

    fn password(text: &str) -> SecretString {
        text.to_string().into()
    }

    #[test]
    fn stores_of_other_wallets_are_opened() {
        for (text, word, secret) in VECTORS {
            let opened = open(text, &password(word)).unwrap();
            assert_eq!(hex::encode(opened.expose_secret()), secret);
        }
        let account =
            super::super::address(&open(VECTORS[2].0, &password("foo")).unwrap()).unwrap();
        assert_eq!(account.to_string(), "0xd1E64E5480bFaf733Ba7D48712DEcb8227797a4e");
    }

    #[test]
    fn what_was_closed_is_opened_by_the_same_password_alone() {
        let secret = Secret::new(Box::new([7; 32]));
        let address = super::super::address(&secret);
        let text = seal(&secret, &password("correct horse"), Cost::Light, address).unwrap();
        assert_eq!(open(&text, &password("correct horse")).unwrap().expose_secret(), &[7; 32]);
        assert_eq!(stated_address(&text).unwrap(), address);
        for wrong in ["", "correct horse ", "Correct horse"] {
            assert_eq!(open(&text, &password(wrong)).err(), Some(KeystoreError::WrongPassword));
        }
        let other = seal(&secret, &password("correct horse"), Cost::Light, None).unwrap();
        assert_ne!(text, other, "salt and counter are drawn");
        assert_eq!(stated_address(&other).unwrap(), None);
        assert!(!text.contains(&"07".repeat(4)));
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let id = document["id"].as_str().unwrap();
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
    }

    /// Goal: a damaged or hostile file is refused with a reason, and costs neither memory nor time. Method: one change each to a store
    /// that is cheap to open.
    #[test]
    fn damaged_and_hostile_stores_are_refused() {
        let (text, word, _) = VECTORS[2];
        let malformed = KeystoreError::Malformed;
        for (from, to, expected) in [
            ("\"version\":3", "\"version\":1", malformed("it is of another version")),
            ("\"n\":2", "\"n\":3", malformed("its scrypt parameters are none")),
            ("\"n\":2", "\"n\":0", malformed("its scrypt parameters are none")),
            ("\"r\":8", "\"r\":0", malformed("its scrypt parameters are none")),
            ("\"n\":2", "\"n\":4294967296", KeystoreError::TooDear("more than 1 GiB of memory")),
            ("\"p\":1", "\"p\":4000000000", KeystoreError::TooDear("minutes")),
            ("\"dklen\":32", "\"dklen\":16", malformed("its derived key is not of 32 bytes")),
            ("aes-128-ctr", "aes-128-cbc", malformed("its cipher is not aes-128-ctr")),
            ("e0c41130", "e0c411", malformed("its iv is not of 16 bytes")),
            ("9517cd5b", "9517cd5", malformed("its ciphertext is not hexadecimal")),
            ("9517cd5b", "9517cd5b0000", malformed("its ciphertext is not of 1 to 32 bytes")),
            ("9517cd5b", "9517cd5c", KeystoreError::WrongPassword),
            ("d5e11615", "d5e11614", KeystoreError::WrongPassword),
            ("\"scrypt\"", "\"argon2\"", malformed("a part is missing or is not what it must be")),
            ("\"salt\"", "\"sugar\"", malformed("a part is missing or is not what it must be")),
        ] {
            assert!(text.contains(from), "{from}");
            let changed = text.replacen(from, to, 1);
            assert_eq!(open(&changed, &password(word)).err(), Some(expected), "{from} -> {to}");
        }
        let rounds = VECTORS[1].0.replacen("262144", "4000000000", 1);
        assert_eq!(open(&rounds, &password("x")).err(), Some(KeystoreError::TooDear("minutes")));
        assert!(open("", &password("x")).is_err());
    }
}
