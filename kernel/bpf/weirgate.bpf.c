// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * Weirgate in the kernel: one list of rules, met by packets in netfilter, at
 * control groups and at interfaces, and by TCP connections as they open.
 */
#include "sockets.h"

/* "Dual MIT/GPL": some of the kernel's helpers are for GPL-compatible programs only. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Written before loading; src/engine/object.rs writes the same bytes. */
struct wg_settings {
	/* Whether bpf_get_netns_cookie works in programs at control groups (Linux 6.13). */
	__u32 cgroup_knows_netns;
	/* Whether the programs that tell whose a socket is could be loaded. */
	__u32 owners_are_known;
};

const volatile struct wg_settings settings SEC(".rodata.settings") = {};

SEC("netfilter")
int wg_netfilter(struct bpf_nf_ctx *ctx)
{
	struct wg_packet p = {};
	struct wg_control c;
	struct bpf_dynptr dynptr;
	struct wg_source from = { .dynptr = &dynptr };
	const struct nf_hook_state *state = ctx->state;
	struct sk_buff *skb = ctx->skb;
	struct net_device *device;

	if (!wg_active(&c))
		return NF_ACCEPT;
	if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &dynptr))
		return NF_ACCEPT;
	p.hook = WG_NETFILTER;
	p.direction = state->hook == NF_INET_LOCAL_IN ? WG_INGRESS : WG_EGRESS;
	device = p.direction == WG_INGRESS ? state->in : state->out;
	if (device)
		p.ifindex = device->ifindex;
	p.netns = WG_ANY_NETNS; /* the link belongs to one namespace */
	p.len = skb->len;
	if (!wg_parse(&from, &p))
		return NF_ACCEPT;
	return wg_passes(&p, &c) ? NF_ACCEPT : NF_DROP;
}

static __always_inline bool wg_cgroup(struct __sk_buff *skb, __u8 direction)
{
	struct wg_packet p = {};
	struct wg_control c;
	struct wg_source from = { .skb = skb };
	struct bpf_sock *sk = skb->sk;

	if (!wg_active(&c))
		return true;
	p.hook = WG_CGROUP;
	p.direction = direction;
	p.ifindex = skb->ifindex;
	p.len = skb->len;
	p.netns = settings.cgroup_knows_netns ? bpf_get_netns_cookie(skb) : WG_ANY_NETNS;
	for (int i = 0; i < WG_DEPTH; i++) {
		p.cgroups[i] = bpf_skb_ancestor_cgroup_id(skb, i);
		if (!p.cgroups[i])
			break;
	}
	if (settings.owners_are_known && sk) {
		sk = bpf_sk_fullsock(sk);
		if (sk) {
			__u32 *owner = bpf_sk_storage_get(&owners, sk, 0, 0);

			if (owner)
				p.pid = *owner;
		}
	}
	if (!wg_parse(&from, &p))
		return true;
	return wg_passes(&p, &c);
}

SEC("cgroup_skb/ingress")
int wg_cgroup_ingress(struct __sk_buff *skb)
{
	return wg_cgroup(skb, WG_INGRESS);
}

SEC("cgroup_skb/egress")
int wg_cgroup_egress(struct __sk_buff *skb)
{
	/* 2: dropped as by a congested queue, which a UDP sender is not told. */
	return wg_cgroup(skb, WG_EGRESS) ? 1 : 2;
}

static __always_inline int wg_interface(struct __sk_buff *skb, __u8 direction)
{
	struct wg_packet p = {};
	struct wg_control c;
	struct wg_source from = { .skb = skb };

	if (!wg_active(&c))
		return TCX_NEXT;
	p.hook = WG_TC;
	p.direction = direction;
	p.ifindex = skb->ifindex;
	p.len = skb->len;
	p.netns = WG_ANY_NETNS;
	/* What is not IP has no addresses, and still uses the interface. */
	if (skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6))
		wg_parse(&from, &p);
	return wg_passes(&p, &c) ? TCX_NEXT : TCX_DROP;
}

SEC("tcx/ingress")
int wg_tc_ingress(struct __sk_buff *skb)
{
	return wg_interface(skb, WG_INGRESS);
}

SEC("tcx/egress")
int wg_tc_egress(struct __sk_buff *skb)
{
	return wg_interface(skb, WG_EGRESS);
}

/* Who uses a socket. */

SEC("cgroup/sock_create")
int wg_sock_create(struct bpf_sock *sk)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;

	bpf_sk_storage_get(&owners, sk, &pid, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

static __always_inline int wg_used(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	__u32 pid = bpf_get_current_pid_tgid() >> 32, *owner;

	if (!sk)
		return 0;
	owner = bpf_sk_storage_get(&owners, sk, &pid, BPF_SK_STORAGE_GET_F_CREATE);
	if (owner && *owner != pid)
		*owner = pid;
	return 0;
}

SEC("tp_btf/sock_send_length")
int wg_sent(__u64 *ctx)
{
	return wg_used(ctx);
}

SEC("tp_btf/sock_recv_length")
int wg_received(__u64 *ctx)
{
	return wg_used(ctx);
}

/* Pacing and congestion control of TCP. */

#define WG_FIELD(ctx, field) (*(volatile __u32 *)&(ctx)->field)

static __always_inline void wg_opened(struct bpf_sock_ops *ops)
{
	__u32 remote_ip4 = WG_FIELD(ops, remote_ip4), local_ip4 = WG_FIELD(ops, local_ip4);
	struct wg_packet p = {};
	struct wg_control c;
	struct wg_rule *r;
	struct bpf_sock *sk = ops->sk;

	if (!sk || !wg_active(&c))
		return;
	p.hook = WG_SOCKET;
	p.direction = WG_EGRESS;
	p.protocol = IPPROTO_TCP;
	p.has_ports = 1;
	p.first = c.first;
	p.netns = bpf_get_netns_cookie(ops);
	p.remote_port = bpf_ntohl(ops->remote_port);
	p.local_port = ops->local_port;
	/* Each field by itself: the verifier takes no computed address within the context. */
	if (WG_FIELD(ops, family) == AF_INET) {
		p.version = 4;
		wg_map_ipv4(p.remote, remote_ip4);
		wg_map_ipv4(p.local, local_ip4);
	} else {
		p.remote[0] = WG_FIELD(ops, remote_ip6[0]);
		p.remote[1] = WG_FIELD(ops, remote_ip6[1]);
		p.remote[2] = WG_FIELD(ops, remote_ip6[2]);
		p.remote[3] = WG_FIELD(ops, remote_ip6[3]);
		p.local[0] = WG_FIELD(ops, local_ip6[0]);
		p.local[1] = WG_FIELD(ops, local_ip6[1]);
		p.local[2] = WG_FIELD(ops, local_ip6[2]);
		p.local[3] = WG_FIELD(ops, local_ip6[3]);
		p.version = wg_version_of(p.remote);
	}
	if (settings.owners_are_known) {
		__u32 *owner = bpf_sk_storage_get(&owners, sk, 0, 0);

		if (owner)
			p.pid = *owner;
	}
	bpf_loop(c.count, wg_find, &p, 0);
	r = wg_rule_at(&p, p.congestion);
	if (r)
		bpf_setsockopt(ops, SOL_TCP, TCP_CONGESTION, r->congestion, sizeof(r->congestion));
	r = wg_rule_at(&p, p.pace);
	if (r) {
		struct wg_paced fresh = { .slot = r->slot }, *mine;

		mine = bpf_sk_storage_get(&paced, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE);
		if (!mine)
			return;
		wg_join(mine->slot, 1);
		mine->share = wg_share(mine->slot);
		bpf_setsockopt(ops, SOL_SOCKET, SO_MAX_PACING_RATE, &mine->share, sizeof(mine->share));
		bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG |
						       BPF_SOCK_OPS_RTT_CB_FLAG);
	}
}

/* Another member came or went, or the rate changed: takes the new share. */
static __always_inline void wg_follow(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	struct wg_paced *mine;
	__u32 share;

	if (!sk)
		return;
	mine = bpf_sk_storage_get(&paced, sk, 0, 0);
	if (!mine)
		return;
	share = wg_share(mine->slot);
	if (share == mine->share)
		return;
	mine->share = share;
	bpf_setsockopt(ops, SOL_SOCKET, SO_MAX_PACING_RATE, &share, sizeof(share));
}

SEC("sockops")
int wg_sockops(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk;
	struct wg_paced *mine;

	switch (ops->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		wg_opened(ops);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		wg_follow(ops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		sk = ops->sk;
		if (ops->args[1] != BPF_TCP_CLOSE || !sk)
			break;
		mine = bpf_sk_storage_get(&paced, sk, 0, 0);
		if (mine) {
			if (!mine->idle)
				wg_join(mine->slot, -1);
			bpf_sk_storage_delete(&paced, sk);
		}
		break;
	}
	return 1;
}

/* Whether a connection in this state may have bytes to send: one that was closed here sends what
 * is left. */
static __always_inline bool wg_may_send(__u8 state)
{
	return state == BPF_TCP_ESTABLISHED || state == BPF_TCP_CLOSE_WAIT ||
	       state == BPF_TCP_FIN_WAIT1 || state == BPF_TCP_CLOSING || state == BPF_TCP_LAST_ACK;
}

/* Brings the connections that are open in line with the rules. Walked over once a second, it
 * also finds out which of them have sent since. */
SEC("iter/tcp")
int wg_adopt(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct wg_packet p = {};
	struct wg_control c = {};
	struct tcp_sock *tcp;
	struct wg_paced *mine;
	struct wg_rule *r;
	int flags = BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG;
	__u32 share = WG_UNPACED;

	if (!common || !wg_may_send(common->skc_state))
		return 0;
	tcp = bpf_skc_to_tcp_sock(common);
	if (!tcp)
		return 0;
	wg_active(&c);
	p.hook = WG_SOCKET;
	p.direction = WG_EGRESS;
	p.protocol = IPPROTO_TCP;
	p.has_ports = 1;
	p.first = c.first;
	p.netns = WG_ANY_NETNS; /* the iterator walks one namespace */
	p.remote_port = bpf_ntohs(common->skc_dport);
	p.local_port = common->skc_num;
	if (common->skc_family == AF_INET) {
		p.version = 4;
		wg_map_ipv4(p.remote, common->skc_daddr);
		wg_map_ipv4(p.local, common->skc_rcv_saddr);
	} else {
		for (int i = 0; i < 4; i++) {
			p.remote[i] = common->skc_v6_daddr.in6_u.u6_addr32[i];
			p.local[i] = common->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		}
		p.version = wg_version_of(p.remote);
	}
	if (settings.owners_are_known) {
		__u32 *owner = bpf_sk_storage_get(&owners, tcp, 0, 0);

		if (owner)
			p.pid = *owner;
	}
	bpf_loop(c.count, wg_find, &p, 0);
	mine = bpf_sk_storage_get(&paced, tcp, 0, 0);
	r = wg_rule_at(&p, p.congestion);
	if (r)
		bpf_setsockopt(tcp, SOL_TCP, TCP_CONGESTION, r->congestion, sizeof(r->congestion));
	r = wg_rule_at(&p, p.pace);
	if (!r) {
		if (!mine)
			return 0;
		if (!mine->idle)
			wg_join(mine->slot, -1);
		bpf_sk_storage_delete(&paced, tcp);
		bpf_setsockopt(tcp, SOL_SOCKET, SO_MAX_PACING_RATE, &share, sizeof(share));
		return 0;
	}
	if (mine && mine->slot != r->slot) {
		if (!mine->idle)
			wg_join(mine->slot, -1);
		mine->slot = r->slot;
		mine->idle = 0;
		wg_join(mine->slot, 1);
	}
	if (mine) {
		__u64 sent = tcp->bytes_sent;
		__u32 idle = sent == mine->sent;

		if (idle != mine->idle)
			wg_join(mine->slot, idle ? -1 : 1);
		mine->idle = idle;
		mine->sent = sent;
	} else {
		struct wg_paced fresh = { .slot = r->slot };

		mine = bpf_sk_storage_get(&paced, tcp, &fresh, BPF_SK_STORAGE_GET_F_CREATE);
		if (!mine)
			return 0;
		wg_join(mine->slot, 1);
		bpf_setsockopt(tcp, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags));
	}
	share = wg_share(mine->slot);
	mine->share = share;
	bpf_setsockopt(tcp, SOL_SOCKET, SO_MAX_PACING_RATE, &share, sizeof(share));
	return 0;
}

/* The bucket alone, at instants that a test brings. */
struct wg_trial {
	__u64 at, len;
	__u32 rule; /* index */
	__u32 passed;
};

SEC("syscall")
int wg_try(struct wg_trial *trial)
{
	__u32 at = trial->rule, slot;
	__u64 now = trial->at, len = trial->len;
	struct wg_rule *r = bpf_map_lookup_elem(&rules, &at);
	struct wg_state *s;
	bool pass;

	if (!r)
		return 1;
	slot = r->slot;
	s = bpf_map_lookup_elem(&states, &slot);
	if (!s)
		return 1;
	bpf_spin_lock(&s->lock);
	pass = wg_take(s, r, now, len);
	bpf_spin_unlock(&s->lock);
	trial->passed = pass;
	return 0;
}
