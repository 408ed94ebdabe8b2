#!/bin/sh
# One Ceph in the current folder, from its ceph.conf: a monitor, a store in memory and, in front, the
# gateway. No manager: nothing that the tests ask needs one. Whoever ends this ends its children.
set -eu
conf="-c $PWD/ceph.conf"

# The maps name the one store and all keys are made beforehand, so that no other tool is needed.
if [ ! -e keyring ]; then
  ceph-authtool -C keyring -g -n mon. --cap mon 'allow *'
  ceph-authtool keyring -g -n client.rgw --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool keyring -g -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  monmaptool --create --fsid "$FSID" --addv a "[v2:127.0.0.1:$MON_PORT]" monmap
  osdmaptool $conf --createsimple 1 osdmap
  mkdir mon osd rgw
  ceph-mon $conf -i a --mkfs --monmap monmap --osdmap osdmap --keyring keyring
  ceph-osd $conf -i 0 --mkfs --no-mon-config
fi

ceph-mon $conf -i a -f &
ceph-osd $conf -i 0 -f &
radosgw-admin $conf -n client.rgw user info --uid tests ||
  radosgw-admin $conf -n client.rgw user create --uid tests --display-name tests \
    --access-key "$ACCESS_KEY" --secret-key "$SECRET_KEY"
exec radosgw $conf -n client.rgw -f
