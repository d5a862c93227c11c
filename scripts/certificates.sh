#!/usr/bin/env bash
# Certificates for trying TLS out and for tests, never for production:
#   scripts/certificates.sh DIRECTORY
# Makes a CA (ca.pem) and, signed by it, server.pem for localhost, expired.pem,
# wronghost.pem and client.pem (user "certified"), each with its .key; and a CA
# that signed none of them (other-ca.pem).
set -euo pipefail

DIR=${1:?usage: scripts/certificates.sh DIRECTORY}
mkdir -p "$DIR"
cd "$DIR"

make_key() {
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"
    chmod 600 "$1.key"
}

# make_ca NAME
make_ca() {
    make_key "$1"
    openssl req -x509 -new -key "$1.key" -sha256 -days 3650 -subj "/CN=Strata test $1" -out "$1.pem" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}

# make_leaf NAME COMMON_NAME DAYS HOSTS
make_leaf() {
    make_key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days "$3" -sha256 \
        -out "$1.pem" -extfile <(printf '%s\n' basicConstraints=CA:FALSE keyUsage=digitalSignature \
            extendedKeyUsage=serverAuth,clientAuth "subjectAltName=$4")
    rm "$1.csr"
}

{
    make_ca ca
    make_ca other-ca
    make_leaf server localhost 3650 DNS:localhost,IP:127.0.0.1,IP:::1
    # Valid for no day: it has expired when it is used.
    make_leaf expired localhost 0 DNS:localhost,IP:127.0.0.1,IP:::1
    make_leaf wronghost elsewhere 3650 DNS:elsewhere.example
    make_leaf client certified 3650 DNS:certified.example
} 2>openssl.log || {
    cat openssl.log >&2
    exit 1
}
