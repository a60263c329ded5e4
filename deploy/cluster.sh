#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Brings a one-node cluster up or down: cluster.sh up|down|status. `make up` and `make down` call it.
#
# Everything it uses can be moved by the environment, so that several clusters (the tests' too) live side by side:
#   ETC VAR LOG RUN   folders of configuration, state, logs, sockets    (/etc/coracle /var/lib/coracle /var/log/coracle /run/coracle)
#   BIN               folder of the programs                            (where `make` puts them)
#   NETNS             name of a network namespace to run all in         (none: the host's)
#   NODE_NAME NODE_IP CGROUP_ROOT SERVICE_CIDR CLUSTER_CIDR DNS_IP BRIDGE SECURE_PORT
#   SERVER            URL of another machine's API server: this machine is one more node of that cluster, with the certificates that stand in ETC
#   SHUTDOWN_GRACE    how long pods are given when the machine shuts down, and how much of it the critical ones: SHUTDOWN_GRACE_CRITICAL (30s, 10s)
#   FEATURE_GATES     gates of the API server: Name=true,... (none)
#   PATIENCE          seconds that each step of up may take             (60)
#   PURGE=1           down: forget the data too
set -eu

here=$(cd "$(dirname "$0")" && pwd)
: "${ETC:=/etc/coracle}" "${VAR:=/var/lib/coracle}" "${LOG:=/var/log/coracle}" "${RUN:=/run/coracle}"
# Where collectors of logs look on any node.
: "${LOG_LINKS:=$([ "$LOG" = /var/log/coracle ] && echo /var/log/containers || echo "$LOG/containers")}"
: "${BIN:=$here/../build/gcc/bin}" "${NETNS:=}" "${NODE_NAME:=$(hostname | tr '[:upper:]' '[:lower:]')}" "${CGROUP_ROOT:=/}"
# Device plugins and monitors look for their sockets where Kubernetes has them; a second node on one machine has its own.
[ "$VAR" = /var/lib/coracle ] && : "${PLUGINS:=/var/lib/kubelet}" || : "${PLUGINS:=$VAR/kubelet}"
: "${SERVICE_CIDR:=10.96.0.0/16}" "${CLUSTER_CIDR:=10.244.0.0/16}" "${DNS_IP:=10.96.0.10}" "${SERVICE_IP:=10.96.0.1}"
: "${SHUTDOWN_GRACE:=30s}" "${SHUTDOWN_GRACE_CRITICAL:=10s}"
: "${SERVER:=}" "${BRIDGE:=coracle0}" "${SECURE_PORT:=6443}" "${CLUSTER_DOMAIN:=cluster.local}" "${PURGE:=0}" "${SUPERVISOR:=auto}" "${PATIENCE:=60}" "${FEATURE_GATES:=}"
BIN=$(cd "$BIN" 2>/dev/null && pwd || echo "$BIN")
pki=$ETC/pki
admin=$ETC/admin.kubeconfig
pidfile=$RUN/supervise.pid

in_netns() { if [ -n "$NETNS" ]; then nsenter --net="/run/netns/$NETNS" "$@"; else "$@"; fi; }
coracle() { in_netns "$BIN/coracle" --kubeconfig "$admin" "$@"; }
say() { printf '%s\n' "$*"; }
die() { printf 'coracle: %s\n' "$*" >&2; exit 1; }
systemd_runs() { [ "$SUPERVISOR" = systemd ] || { [ "$SUPERVISOR" = auto ] && [ -z "$NETNS" ] && [ -d /run/systemd/system ]; }; }
supervisor_runs() { [ -s "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; }

# The address other machines know this one by: of the default route, else the first global one, else loopback.
node_ip() {
	local ip
	ip=$(in_netns ip -4 -o route get 192.0.2.1 2>/dev/null | sed -nE 's/.* src ([0-9.]+).*/\1/p')
	[ -n "$ip" ] || ip=$(in_netns ip -4 -o addr show scope global 2>/dev/null | sed -nE '1s/.* inet ([0-9.]+).*/\1/p')
	printf '%s' "${ip:-127.0.0.1}"
}

write_certs() {
	if [ -n "$SERVER" ]; then
		[ -s "$pki/kubelet-$NODE_NAME.crt" ] && [ -s "$ETC/kubelet.kubeconfig" ] || die "no certificates of node $NODE_NAME in $ETC: make them with coracle certs init"
		return 0
	fi
	"$BIN/coracle" certs init --dir "$pki" --kubeconfig-dir "$ETC" --server "https://127.0.0.1:$SECURE_PORT" --node "$NODE_NAME" \
		--node-ip "$NODE_IP" --service-ip "$SERVICE_IP" --cluster-domain "$CLUSTER_DOMAIN" --san localhost --san 127.0.0.1 >/dev/null
}

# One line a daemon: "name: command". The same commands stand in the systemd units, through the environment file. Further nodes run two of them.
daemons_here() { if [ -n "$SERVER" ]; then grep -E '^(#|kubelet:|proxy:)'; else cat; fi; }
write_config() {
	mkdir -p "$ETC/cni/net.d"
	daemons_here >"$ETC/daemons.conf.new" <<-CONF
	# Written by cluster.sh; what \`coracle supervise\` runs, one a line.
	etcd: $(command -v etcd) --name $NODE_NAME --data-dir $VAR/etcd --listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster $NODE_NAME=http://127.0.0.1:2380 --cert-file $pki/etcd-server.crt --key-file $pki/etcd-server.key --client-cert-auth --trusted-ca-file $pki/etcd-ca.crt --log-outputs stderr --logger zap --quota-backend-bytes 8589934592
	apiserver: $BIN/coracle-apiserver --etcd-servers https://127.0.0.1:2379 --etcd-cafile $pki/etcd-ca.crt --etcd-certfile $pki/apiserver-etcd-client.crt --etcd-keyfile $pki/apiserver-etcd-client.key --secure-port $SECURE_PORT --advertise-address $NODE_IP --tls-cert-file $pki/apiserver.crt --tls-private-key-file $pki/apiserver.key --client-ca-file $pki/ca.crt --kubelet-client-certificate $pki/apiserver-kubelet-client.crt --kubelet-client-key $pki/apiserver-kubelet-client.key --kubelet-certificate-authority $pki/ca.crt --service-account-issuer https://kubernetes.default.svc.$CLUSTER_DOMAIN --service-account-key-file $pki/sa.pub --service-account-signing-key-file $pki/sa.key --service-cluster-ip-range $SERVICE_CIDR --requestheader-client-ca-file $pki/front-proxy-ca.crt --requestheader-allowed-names front-proxy-client --requestheader-extra-headers-prefix X-Remote-Extra- --requestheader-group-headers X-Remote-Group --requestheader-username-headers X-Remote-User --proxy-client-cert-file $pki/front-proxy-client.crt --proxy-client-key-file $pki/front-proxy-client.key --authorization-mode Node,RBAC${FEATURE_GATES:+ --feature-gates $FEATURE_GATES}
	controller-manager: $BIN/coracle-controller-manager --kubeconfig $ETC/controller-manager.kubeconfig --service-account-private-key-file $pki/sa.key --root-ca-file $pki/ca.crt --cluster-signing-cert-file $pki/ca.crt --cluster-signing-key-file $pki/ca.key --allocate-node-cidrs --cluster-cidr $CLUSTER_CIDR --service-cluster-ip-range $SERVICE_CIDR --client-ca-file $pki/ca.crt --leader-elect
	scheduler: $BIN/coracle-scheduler --kubeconfig $ETC/scheduler.kubeconfig --client-ca-file $pki/ca.crt --leader-elect
	kubelet: $BIN/coracle-kubelet --kubeconfig $ETC/kubelet.kubeconfig --hostname-override $NODE_NAME --node-ip $NODE_IP --root-dir $VAR/kubelet --run-dir $RUN/kubelet --image-root $VAR/images --pod-log-dir $LOG/pods --container-log-links-dir $LOG_LINKS --cluster-dns $DNS_IP --cluster-domain $CLUSTER_DOMAIN --client-ca-file $pki/ca.crt --tls-cert-file $pki/kubelet-$NODE_NAME.crt --tls-private-key-file $pki/kubelet-$NODE_NAME.key --pod-manifest-path $ETC/manifests --cni-conf-dir $ETC/cni/net.d --cgroup-root $CGROUP_ROOT --bridge-name $BRIDGE --device-plugins-dir $PLUGINS/device-plugins --pod-resources-dir $PLUGINS/pod-resources --shutdown-grace-period $SHUTDOWN_GRACE --shutdown-grace-period-critical-pods $SHUTDOWN_GRACE_CRITICAL --fail-swap-on=false
	proxy: $BIN/coracle-proxy --kubeconfig $ETC/proxy.kubeconfig --hostname-override $NODE_NAME --cluster-cidr $CLUSTER_CIDR
	dns: $BIN/coracle-dns --kubeconfig $ETC/dns.kubeconfig --listen-address $NODE_IP --port 10053 --cluster-domain $CLUSTER_DOMAIN --resolv-conf /etc/resolv.conf
	CONF
	if cmp -s "$ETC/daemons.conf.new" "$ETC/daemons.conf"; then rm "$ETC/daemons.conf.new"; else mv "$ETC/daemons.conf.new" "$ETC/daemons.conf"; fi
}

# The cluster's DNS: a Service without selector, whose endpoint is the dns daemon of this node.
write_dns_manifest() {
	sed -e "s/@DNS_IP@/$DNS_IP/; s/@NODE_IP@/$NODE_IP/" "$here/manifests/dns.yaml.in" >"$ETC/dns.yaml"
}

wait_until() { # seconds, what, command...
	local end=$((SECONDS + $1)) what=$2 seen
	shift 2
	until seen=$("$@" 2>&1); do
		[ $SECONDS -lt $end ] || die "gave up waiting for $what; see the logs in $LOG${seen:+ (last: ${seen:0:300})}"
		read -r -t 0.2 <> <(:) || true
	done
}

node_ready() { coracle get node "$NODE_NAME" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null | grep -q True; }
dns_answers() { in_netns busybox nslookup "kubernetes.default.svc.$CLUSTER_DOMAIN" "$DNS_IP"; }

# A tag other than latest: with that one Kubernetes asks the registry each time (imagePullPolicy Always), and there may be none.
image_tag=$(busybox 2>/dev/null | sed -nE '1s/^BusyBox v([0-9.]+).*/\1/p')
: "${image_tag:=stable}"
load_image() {
	local tar=$VAR/busybox-image.tar
	"$BIN/coracle" image list --root "$VAR/images" 2>/dev/null | grep -q "busybox *$image_tag" && return 0
	[ -s "$tar" ] || "$here/busybox-image.sh" "$tar" "docker.io/library/busybox:$image_tag" busybox
	"$BIN/coracle" image load --root "$VAR/images" "$tar" >/dev/null
	"$BIN/coracle" image tag --root "$VAR/images" "busybox:$image_tag" busybox:latest >/dev/null
}

up() {
	[ "$(id -u)" = 0 ] || die "make up needs root: it makes namespaces, cgroups and rules"
	[ -x "$BIN/coracle" ] || die "no programs in $BIN: run make"
	# IP forwarding is what makes a node route its pods' packets.
	in_netns sysctl -qw net.ipv4.ip_forward=1 || true
	modprobe -qa br_netfilter overlay 2>/dev/null || true
	: "${NODE_IP:=$(node_ip)}"
	mkdir -p "$ETC/manifests" "$VAR" "$LOG/pods" "$RUN"
	chmod 711 "$VAR" # nobody lists it, but the root of a user namespace must come through to its container
	write_certs
	write_config
	write_dns_manifest
	load_image
	if systemd_runs; then
		"$here/systemd/install.sh" "$ETC/daemons.conf"
	elif ! supervisor_runs; then
		in_netns setsid "$BIN/coracle" supervise --config "$ETC/daemons.conf" --log-dir "$LOG" --pid-file "$pidfile" </dev/null >>"$LOG/supervise.log" 2>&1 &
	else
		kill -HUP "$(cat "$pidfile")" # starts what the file names anew, restarts what changed
	fi
	wait_until "$PATIENCE" "the API server" coracle get --raw /readyz
	# On a machine that is slow for a while one call may run out of its time.
	[ -n "$SERVER" ] || wait_until "$PATIENCE" "the service of DNS to be made" coracle apply -f "$ETC/dns.yaml"
	wait_until "$PATIENCE" "node $NODE_NAME to be Ready" node_ready
	[ -z "$SERVER" ] || { say "Node $NODE_NAME is Ready, in the cluster of $SERVER"; return 0; }
	wait_until "$PATIENCE" "DNS" dns_answers
	say "The cluster is up: node $NODE_NAME is Ready, DNS answers at $DNS_IP. Try:"
	say ""
	say "  export KUBECONFIG=$admin"
	say "  kubectl create deployment web --image=busybox:$image_tag --replicas=3 -- httpd -f -p 8080 -h /etc"
	say "  kubectl expose deployment web --port=80 --target-port=8080 && kubectl get pods,services -o wide"
}

# The folders of one of this cluster's cgroups, wherever they stand (v1 has one tree a controller).
cgroup_folders() {
	local base path=${CGROUP_ROOT%/}${1:+/$1}
	[ -n "$path" ] || return 0
	for base in /sys/fs/cgroup /sys/fs/cgroup/*; do [ ! -d "$base$path" ] || printf '%s\n' "$base$path"; done
}

remove_pods() {
	# The kubelet knows best how to undo what it did (CNI, mounts, cgroups).
	[ ! -x "$BIN/coracle-kubelet" ] || [ ! -d "$VAR/kubelet" ] || [ ! -s "$ETC/daemons.conf" ] ||
		in_netns sh -c "$(sed -n 's/^kubelet: //p' "$ETC/daemons.conf") --cleanup" >>"$LOG/cleanup.log" 2>&1 || true
	local pass cg procs pid
	for pass in 1 2 3 4 5; do
		local left=0
		while read -r cg; do
			while read -r procs; do
				while read -r pid; do left=1; kill -9 "$pid" 2>/dev/null || true; done <"$procs"
			done < <(find "$cg" -name cgroup.procs 2>/dev/null)
		done < <(cgroup_folders kubepods)
		[ $left = 1 ] || break
		read -r -t 0.1 <> <(:) || true
	done
	while read -r cg; do find "$cg" -depth -type d -exec rmdir {} + 2>/dev/null || true; done < <(cgroup_folders kubepods; cgroup_folders coracle-monitors)
	while read -r cg; do rmdir "$cg" 2>/dev/null || true; done < <(cgroup_folders)
	local mount
	while read -r mount; do umount -l "$mount" 2>/dev/null || true; done < <(awk -v var="$VAR/" -v run="$RUN/" 'index($5, var) == 1 || index($5, run) == 1 {print $5}' /proc/self/mountinfo | sort -r)
}

remove_network() {
	[ -z "$NETNS" ] || return 0 # goes with its namespace
	ip link show "$BRIDGE" >/dev/null 2>&1 && ip link delete "$BRIDGE"
	nft delete table inet "coracle-pods-$NODE_NAME" 2>/dev/null || true
	[ ! -x "$BIN/coracle-proxy" ] || "$BIN/coracle-proxy" --cleanup 2>>"$LOG/cleanup.log" || true
}

down() {
	if systemd_runs; then
		"$here/systemd/install.sh" --remove
	elif supervisor_runs; then
		local pid kubelet
		pid=$(cat "$pidfile")
		# The kubelet goes first and its pods with it, while the supervisor still stands: it takes in the processes that they leave.
		kubelet=$(sed -n 's/^kubelet //p' "$pidfile.daemons" 2>/dev/null || true)
		if [ -n "$kubelet" ]; then
			cp "$ETC/daemons.conf" "$ETC/daemons.conf.all"
			sed -i '/^kubelet: /d' "$ETC/daemons.conf"
			kill -HUP "$pid"
			wait_until 30 "the kubelet to stop" sh -c "! kill -0 $kubelet"
			mv "$ETC/daemons.conf.all" "$ETC/daemons.conf"
			remove_pods
		fi
		kill -TERM "$pid"
		wait_until 30 "the daemons to stop" sh -c "! kill -0 $pid"
	fi
	remove_pods
	remove_network
	rm -rf "$RUN"
	if [ "$PURGE" = 1 ]; then rm -rf "$VAR" "$ETC" "$LOG"; else rm -rf "$VAR/kubelet/pods"; fi
	say "The cluster is down$([ "$PURGE" = 1 ] && echo ' and forgotten' || echo '; its data is kept (make down PURGE=1 forgets it)')."
}

status() {
	supervisor_runs && say "supervisor runs as $(cat "$pidfile")" || say "supervisor does not run"
	coracle get nodes -o wide
}

case ${1:-} in
up | down | status) "$1" ;;
*) die "usage: cluster.sh up|down|status" ;;
esac
