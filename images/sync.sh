#!/bin/sh
# Makes /opt/venv hold exactly LOCK; nothing is resolved and nothing enters without a hash.
# usage: sync.sh LOCK   (inside a build)
# What a site needs to reach its index comes as build secrets: ca (a CA bundle), pip_conf (for pip), uv_toml (for uv).
set -eu

if [ -f /run/secrets/ca ]; then
    export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca
fi
if [ -f /run/secrets/pip_conf ]; then
    export PIP_CONFIG_FILE=/run/secrets/pip_conf
fi
if [ -f /run/secrets/uv_toml ]; then
    export UV_CONFIG_FILE=/run/secrets/uv_toml
fi
export UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 HOME=/tmp PYTHONDONTWRITEBYTECODE=1

case $1 in
*/build.txt)
    # The installer goes into a venv of the tools stage, which is thrown away.
    python3 -m venv /opt/tools
    /opt/tools/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r "$1"
    ;;
*)
    [ -d /opt/venv ] || /opt/tools/bin/uv venv --quiet --python python3 /opt/venv
    # Sdists are built with the setuptools that the lock put there, not with whatever an isolated build would fetch.
    /opt/tools/bin/uv pip sync --quiet --require-hashes --no-build-isolation --compile-bytecode \
        --cache-dir /var/cache/uv --python /opt/venv/bin/python "$1"
    ;;
esac
