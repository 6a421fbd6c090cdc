// The scripts that give a program a network of its own; process-shim.ts puts them beside the shim's. Plain POSIX sh. Called by the command
// lines of process-network.ts, as root, before the program begins: what cannot be made ends the launch, and nothing is left of it.

const FAIL = `
selvedge_fail() { echo "selvedge: it cannot have a network of its own: $1" >&2; exit 125; }
`;

/** Its first arguments: a hosts file, what has the resolv.conf, and where that goes; each '-' where there is none. */
const FILES = `
[ "$1" = - ] || [ ! -e /etc/hosts ] || "$selvedge_mount" --bind "$1" /etc/hosts || selvedge_fail /etc/hosts
[ "$2" = - ] || "$selvedge_mount" --bind "$2" "$3" || selvedge_fail "$3"
shift 3
exec "$@"
`;

/**
 * Arguments: paths of ip, nsenter, mount and the shell, the script below, the name of the box's end, its alias, the program's address, the
 * box's, a hosts file, what has the resolv.conf and where that goes ('-' for none), then the command. In a network and a mount namespace of its own, whose parent is still
 * in those of the box. The cable is made from here: it goes with the namespace, whoever ends that. IPv6 stays on loopback alone.
 */
export const NETWORK = `${FAIL}
selvedge_ip=$1 selvedge_nsenter=$2 selvedge_mount=$3 selvedge_shell=$4 selvedge_outside=$5
selvedge_link=$6 selvedge_alias=$7 selvedge_address=$8 selvedge_gateway=$9
shift 9
[ "$PPID" -gt 1 ] || selvedge_fail 'its shim is gone'
for selvedge_setting in ipv6/conf/default/disable_ipv6=1 ipv4/ip_unprivileged_port_start=0; do
  [ ! -e "/proc/sys/net/\${selvedge_setting%=*}" ] ||
    echo "\${selvedge_setting#*=}" > "/proc/sys/net/\${selvedge_setting%=*}" || selvedge_fail "\${selvedge_setting%=*}"
done
"$selvedge_ip" -batch - <<END || selvedge_fail 'ip'
link add name eth0 type veth peer name $selvedge_link netns $PPID
link set dev lo up
address add $selvedge_address/32 dev eth0
link set dev eth0 up
route add $selvedge_gateway dev eth0 scope link
route add default via $selvedge_gateway dev eth0
END
"$selvedge_nsenter" --net="/proc/$PPID/ns/net" -- "$selvedge_shell" "$selvedge_outside" "$selvedge_ip" "$selvedge_link" "$selvedge_alias" \\
  "$selvedge_address" "$selvedge_gateway" || selvedge_fail 'the end of the box'
${FILES}`;

/** Arguments: path of mount, a hosts file, what has the resolv.conf and where that goes, then the command: one beside a program, in its network. */
export const NETWORK_BESIDE = `${FAIL}
selvedge_mount=$1
shift
${FILES}`;

/**
 * Arguments: path of ip, the box's end, its alias, the program's address, the box's. In the network of the box: nothing but this one
 * address is taken from that end (rp_filter), and nothing leads from it to loopback.
 */
export const NETWORK_OUTSIDE = `
for selvedge_setting in rp_filter=1 forwarding=1 route_localnet=0 accept_local=0 accept_redirects=0 send_redirects=0 proxy_arp=0; do
  echo "\${selvedge_setting#*=}" > "/proc/sys/net/ipv4/conf/$2/\${selvedge_setting%=*}" || exit 1
done
[ ! -e "/proc/sys/net/ipv6/conf/$2/disable_ipv6" ] || echo 1 > "/proc/sys/net/ipv6/conf/$2/disable_ipv6" || exit 1
exec "$1" -batch - <<END
link set dev $2 alias $3 up
route replace $4/32 dev $2 src $5 scope link
END
`;
