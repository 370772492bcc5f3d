/** haproxy.cfg for affinity and for plain balancing. */
import { type BalancerOptions, type BalancerPlan, planOf } from './options.ts'

export function haproxyConfig(options: BalancerOptions): string {
  const plan = planOf(options)
  const check =
    plan.health === undefined
      ? '    # The port is all that is checked: give --health PATH to learn of draining servers.'
      : httpCheck(plan.health)
  return `# HAProxy in front of ${plan.servers.length} servers: ${plan.policy}. Made by: holdfast balancer haproxy
global
    # maxconn follows from the limit of open files: raise that (LimitNOFILE=) for more than some thousand visitors at once.
    log stdout format raw local0 notice

defaults
    mode http
    log global
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout queue 5s
    timeout tunnel 1h
    # A server that cannot be reached is left at once.
    retries 2
    option redispatch 1

frontend holdfast_front
    bind ${plan.host === undefined ? '' : plan.host}:${plan.port}
    # What a client claims to have been forwarded for is dropped.
    http-request del-header X-Forwarded-For
    http-request set-header X-Forwarded-Proto http unless { ssl_fc }
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    option forwardfor
    default_backend holdfast

backend holdfast
${check}
${routing(plan)}
    # Only what changes nothing is sent again once bytes were sent.
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless { method GET HEAD OPTIONS }
    # Node closes a connection after 5 idle seconds: HAProxy has to be quicker, or a POST may meet one that is just being closed.
    default-server pool-purge-delay 2s
    default-server check inter 200ms fastinter 100ms downinter 200ms fall 2 rise 2 weight 100 observe layer4 error-limit 1 on-error mark-down
${plan.servers.map(({ address, name }, index) => `    server ${name} ${address} id ${index + 1}`).join('\n')}
`
}

function httpCheck(path: string): string {
  return `    option httpchk GET ${path}
    http-check expect status 200`
}

function routing(plan: BalancerPlan): string {
  const cookie = `req.cook(${plan.routeCookie})`
  switch (plan.policy) {
    case 'affinity':
      return `    # The route cookie is "owner.backup", by the names of the servers: affinity({ transport, route: nameRoute }).
    # A rule whose server is down is passed over. Unknown, forged and missing routes are balanced: the session is fetched from its holder.
    http-request set-var(txn.owner) ${cookie},field(1,.)
    http-request set-var(txn.backup) ${cookie},field(2,.)
${['owner', 'backup'].flatMap((who) => plan.servers.map(({ name }) => `    use-server ${name} if { var(txn.${who}) -m str ${name} }`)).join('\n')}
    # Visitors without a route take turns: so sessions spread evenly.
    balance roundrobin`
    case 'hash':
      return `    # The route cookie is a number that stays with the session, and its hash names the server:
    # affinity({ transport, route: slotRoute, placement: haproxyRing({ ${plan.servers.map(({ name }, index) => `${JSON.stringify(name)}: ${index + 1}`).join(', ')} }) })
    # Backups then sit where HAProxy goes once a server is DOWN. The ids and the weight below are part of the hash: keep them.
    balance hash ${cookie}
    hash-type consistent crc32 avalanche`
    case 'least-connections':
      return '    balance leastconn'
    case 'round-robin':
      return '    balance roundrobin'
  }
}
