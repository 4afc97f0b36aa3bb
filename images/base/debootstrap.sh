#!/bin/sh
# Makes the base root file system from a Debian mirror, for machines that cannot pull a base image.
# usage: debootstrap.sh ROOT   (as root; ROOT must not exist yet)
# DEBIAN_MIRROR and http_proxy are honoured; without them debootstrap's own default mirror is used.
# debootstrap checks the archive's signature; the caller compares the exact versions with packages.debootstrap.txt.
set -eu

root=$1
# python3-venv makes the environment, libpython3.11-dev is for kernels that are compiled while a model runs.
packages=python3,python3-venv,python3-pip,ca-certificates,libpython3.11-dev

debootstrap --variant=minbase --include="$packages" bookworm "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >&2

# What belongs to the machine that ran this, or to no run of a model, does not go in.
: > "$root/etc/resolv.conf"
: > "$root/etc/hostname"
rm -rf "$root/etc/apt/sources.list" "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/usr/share/info/*
